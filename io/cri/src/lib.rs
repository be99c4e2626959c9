//! Container runtime over CRI v1 on a unix socket
