# Rialto: see CONTRIBUTING.md for how the pieces fit.

GO ?= go
MODELS ?= ../shared/models

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the program into ./bin
	$(GO) build -trimpath -o bin/rialto ./cmd/rialto

.PHONY: install
install: ## Install the program into $GOBIN
	$(GO) install ./cmd/rialto

.PHONY: demo
demo: ## Play the demo against a temporary server
	$(GO) run ./cmd/rialto demo

.PHONY: test
test: ## Run the tests
	$(GO) test ./...

.PHONY: race
race: ## Run the tests of packages with goroutines under the race detector
	$(GO) test -race -gcflags=modernc.org/sqlite/lib=-race=false ./internal/... ./eventpattern/... ./inputtransform/...

.PHONY: lint
lint: ## Run golangci-lint with .golangci.yaml
	golangci-lint run ./...

.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZTIME (default 1m)
	GO=$(GO) .ci/fuzz $(or $(FUZZTIME),1m)

.PHONY: generate
generate: ## Generate the AWS shapes from the service models in MODELS
	$(GO) run ./internal/awsapi/gen -models $(MODELS)

.PHONY: generate-check
generate-check: generate ## Fail if generated code differs from what is committed
	git diff --exit-code -- internal/awsapi/gen

.PHONY: bench
bench: ## Start the real program and print the tables of docs/performance.md
	$(GO) run ./bench

.PHONY: ci
ci: ## What continuous integration runs
	.ci/run
