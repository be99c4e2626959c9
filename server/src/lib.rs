//! What the node answers over HTTP: 10250, 10255, 10248, 4194 and the local socket
