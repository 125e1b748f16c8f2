"""What ``attnlab new`` writes: the files of a new part, which run at once and say where their author must write."""
