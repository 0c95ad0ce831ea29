"""What a region knows and an extract does not say: dated tables, and where rules and seeds lie."""
