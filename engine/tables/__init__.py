"""What the data is: the dictionary, reading with reasons, quarantine, official checks, netting, persons."""
