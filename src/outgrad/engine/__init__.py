"""What is done with blocks. A folder is a way of touching chunks, a file in it a technique."""
