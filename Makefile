# The modules of this checkout are named in one place, go.work.
PACKAGES  = $(shell go list -m -f '{{.Dir}}/...')
TESTFLAGS ?= -count=1
FUZZTIME  ?= 10s

GOLANGCI_LINT = go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

.PHONY: demo
demo: ## share proxies between crawlers, in memory, or on Redis if REDIS_URL is set
	@go run ./examples/proxypool

.PHONY: test
test: server ## run all tests of all modules
	@go test $(TESTFLAGS) $(PACKAGES)

.PHONY: race
race: server ## run all tests under the race detector
	@go test -race $(TESTFLAGS) $(PACKAGES)

.PHONY: test-containers
test-containers: ## run the integration tests against a server in a container
	@cd integration && INTEGRATION_SERVER=container go test $(TESTFLAGS) ./...

.PHONY: lint
lint: ## check style, common mistakes and which package imports which
	@$(GOLANGCI_LINT) run $(PACKAGES)

.PHONY: bench
bench: server ## run the benchmarks of all modules
	@go test -run '^$$' -bench . -benchmem $(PACKAGES)

.PHONY: goals
goals: server ## measure the speed goals, ours against others
	@cd benchmarks && go run ./cmd/goals

.PHONY: cover
cover: server ## write cover.out and print the coverage of each function
	@go test $(TESTFLAGS) -coverpkg=./... -coverprofile=cover.out $(PACKAGES)
	@go tool cover -func=cover.out

.PHONY: fuzz
fuzz: ## run each fuzz test for FUZZTIME
	@grep -roE --include='*_test.go' '^func Fuzz\w+' . | sed 's|/[^/]*:func | |' | while read -r dir name; do \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$dir" </dev/null || exit 1; \
	done

# The tests want a real server: the one at REDIS_URL, or a program on PATH that they start themselves.
.PHONY: server
server:
	@[ -n "$$REDIS_URL" ] || command -v redis-server >/dev/null || command -v valkey-server >/dev/null || { \
		sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
		$$sudo apt-get update && $$sudo apt-get install -y redis-server; \
	}
