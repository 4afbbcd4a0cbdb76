package catalog

// model is all blueprints at one revision. It does not change: readers keep theirs.
type model struct {
	revision     int64
	byIdentifier map[string]*Blueprint
	byID         map[int64]*Blueprint
	relations    map[int64]relationOf // the relations that there are, by id
}

// relationOf is a relation and the blueprint that has it.
type relationOf struct {
	blueprint *Blueprint
	key       string
	Relation
}
