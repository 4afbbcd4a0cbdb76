// Command gen writes, for each AWS service that is served here, a package with
// its Go shapes, the Service interface, the operations table, the constraints of
// its requests and its errors. It reads service models in botocore's
// service-2.json form:
//
//	go run ./internal/awsapi/gen -models DIR
//
// It holds nothing that depends on a service's meaning; the few facts that
// models leave out are in facts.go.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	models := flag.String("models", "", "directory of service models (required)")
	out := flag.String("out", filepath.Join("internal", "awsapi", "gen"), "directory to write the packages to")
	flag.Parse()
	if *models == "" {
		fmt.Fprintln(os.Stderr, "gen: -models is required: the directory that holds events.json, sqs.json and the others")
		os.Exit(2)
	}
	if err := run(services, *models, *out); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run writes the package of each service below out.
func run(services []service, models, out string) error {
	for _, s := range services {
		pkg, err := load(models, s)
		if err != nil {
			return fmt.Errorf("read the model of %s: %w", s.pkg, err)
		}
		if err := pkg.write(filepath.Join(out, s.pkg)); err != nil {
			return fmt.Errorf("write package %s: %w", s.pkg, err)
		}
	}
	return nil
}
