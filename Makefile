# The modules of this checkout are named in one place, go.work.
PACKAGES  = $(shell go list -m -f '{{.Dir}}/...')
TESTFLAGS ?= -count=1
FUZZTIME  ?= 10s
STRESS_SECONDS ?= 60

# Those whose own tests do without a server, if they have the tag memory.
ON_MEMORY = ./backend ./backend/memory ./binding ./internal/lease ./lock ./policy ./pool ./task

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
test-containers: ## test with servers in containers that are paused, killed and started again; needs Docker
	@cd integration && INTEGRATION_SERVER=container go test $(TESTFLAGS) -run Container ./...

.PHONY: stress
stress: server ## work for STRESS_SECONDS while processes are killed, watch that everything holds, and look for leftovers
	@cd integration && go run ./cmd/redisalloc-stress -duration $(STRESS_SECONDS)s $(if $(REDIS_URL),,-restart 10s)

.PHONY: lint
lint: ## check style, common mistakes and which package imports which
	@$(GOLANGCI_LINT) run $(PACKAGES)

.PHONY: bench
bench: server ## run the benchmarks of all modules
	@go test -run '^$$' -bench . -benchmem $(PACKAGES)

.PHONY: goals
goals: server ## measure the speed goals, ours against others, and write BENCHMARKS.md
	@cd benchmarks && go run $$(git rev-parse >/dev/null 2>&1 && echo -buildvcs=true) ./cmd/goals -page ../BENCHMARKS.md

.PHONY: cover
cover: ## print how much of each package its own tests on memory cover; it fails below 90 %
	@go test $(TESTFLAGS) -tags memory -cover $(ON_MEMORY) | awk ' \
		/^ok/ { printf "%6.1f %%  %s\n", $$5, $$2; if ($$5 + 0 < 90) short = 1; next } \
		{ print; short = 1 } \
		END { exit short }'

.PHONY: mutants
mutants: ## break pool, lock and task in a thousand ways and look whether their tests notice; it fails below 90 %
	@go run ./internal/mutants -skip HundredThousand pool lock task

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
