package kind

import (
	"embed"
	"strings"

	"github.com/rialto-bus/rialto/internal/box/resource"
)

//go:embed schemas/*.json
var schemas embed.FS

// readSchema reads the schema of a type.
func readSchema(typeName string) (*resource.Schema, error) {
	file := strings.ToLower(strings.ReplaceAll(typeName, "::", "-")) + ".json"
	body, err := schemas.ReadFile("schemas/" + file)
	if err != nil {
		return nil, err
	}
	return resource.ParseSchema(body)
}
