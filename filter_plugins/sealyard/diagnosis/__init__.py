"""Why workers are idle: what miners, journals and hosts say of them, put into one sentence and one remedy each."""
