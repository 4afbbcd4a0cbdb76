package catalog

// The properties that every entity has. Port: their names.
const (
	metaIdentifier = "$identifier"
	metaTitle      = "$title"
	metaTeam       = "$team"
	metaIcon       = "$icon"
	metaCreatedAt  = "$createdAt"
	metaUpdatedAt  = "$updatedAt"
	metaCreatedBy  = "$createdBy"
	metaUpdatedBy  = "$updatedBy"
	metaBlueprint  = "$blueprint"
	metaDatasource = "$datasource"
)

var metaProperties = []string{
	metaIdentifier, metaTitle, metaTeam, metaIcon, metaCreatedAt, metaUpdatedAt,
	metaCreatedBy, metaUpdatedBy, metaBlueprint, metaDatasource,
}

// title is the one shown: the identifier where none was given.
func (e *Entity) title() string {
	if e.Title == nil || *e.Title == "" {
		return e.Identifier
	}
	return *e.Title
}

// meta returns the value of a meta property, as operators take them.
func (e *Entity) meta(name string) any {
	switch name {
	case metaIdentifier:
		return e.Identifier
	case metaTitle:
		return e.title()
	case metaTeam:
		return anyList(e.Team)
	case metaIcon:
		if e.Icon == nil {
			return nil
		}
		return *e.Icon
	case metaCreatedAt:
		return e.CreatedAt
	case metaUpdatedAt:
		return e.UpdatedAt
	case metaCreatedBy:
		return e.CreatedBy
	case metaUpdatedBy:
		return e.UpdatedBy
	case metaBlueprint:
		return e.Blueprint
	case metaDatasource:
		return e.Datasource
	}
	return nil
}

func anyList(list []string) []any {
	all := make([]any, len(list))
	for i, s := range list {
		all[i] = s
	}
	return all
}
