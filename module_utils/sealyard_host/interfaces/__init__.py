"""Network interfaces of RDMA cards: how they are, who configures them, and a change that takes itself back."""
