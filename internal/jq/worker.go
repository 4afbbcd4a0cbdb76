package jq

// Main makes a worker of a process that New started as one, and then never
// returns; in any other process it does nothing. It must be the first call of
// main, and of TestMain in packages that evaluate.
func Main() {}
