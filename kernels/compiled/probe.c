/* The smallest library: whether C can be built, kept and loaded here. */
int answer(void) { return ANSWER; }
