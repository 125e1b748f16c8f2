"""The atlas: attention operators, one per file, one protocol; whoever lies in a folder here is a member."""
