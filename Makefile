# The table of contents: `make help` prints it. Each target is a line or two;
# what is longer is a program in the folder that it belongs to.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
REGISTRY ?= localhost
REPOSITORY ?= kubevirt-hypervisor-exporter
TAG      ?= v0.1.0
ALL_ARCHES := amd64 arm64 s390x
ARCHES   ?= $(ALL_ARCHES)
PLATFORMS ?= linux-amd64 linux-arm64 darwin-amd64 darwin-arm64 windows-amd64 windows-arm64
FUZZTIME ?= 30s
ARGS     ?=

ARCH := $(shell go env GOARCH)
V    := github.com/prometheus/common/version
# nethttpomithttp2: 0.5 MB less; neither a scrape nor an admission uses HTTP/2.
BUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags nethttpomithttp2 \
         -ldflags "-s -w -X $(V).Version=$(VERSION) -X $(V).Revision=$(REVISION) $(DOCS:%=-X kubevirt-hypervisor-exporter/monitoring/rules.Docs=%)"

COSIGN := github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3

# Debian packages, as package or command:package where the command is enough.
VM_PACKAGES   := libvirt-daemon libvirt-daemon-driver-qemu virsh:libvirt-clients qemu-system-x86_64:qemu-system-x86
TEST_PACKAGES := $(VM_PACKAGES) gcc libc6-dev prometheus curl nft:nftables ip:iproute2 systemd-detect-virt:systemd
API_PACKAGES  := gcc libc6-dev etcd-server
ARCH_PACKAGES := $(VM_PACKAGES) gcc libc6-dev qemu-user-static
E2E_PACKAGES  := debootstrap gcc libc6-dev libvirt-dev pkg-config xorriso cpio iproute2 docker-registry

# The packages whose tests run programs that are built from other people's source: kube-apiserver, Helm and more.
INTEGRATION := /(clustertest|charttest)$$

.PHONY: help build demo test integration soak test-arch e2e e2e-up e2e-down bench fuzz lint image plugin release push sign vulnerabilities clean
help: ## Print this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 12

build: $(ARCHES:%=build-%) ## Build the static binaries into bin/ARCH/ (ARCHES: for which)

build-%: programs-%
	GOARCH=$* $(BUILD) -o bin/$*/kubectl-hypervisor ./hypervisorctl

# What is in the image.
programs-%:
	GOARCH=$* $(BUILD) -o bin/$*/ ./sidecar ./sidecar/supervisor ./webhook ./relay

plugin: $(PLATFORMS:%=plugin-%) ## Build the kubectl plugin into bin/plugin/OS-ARCH/ (PLATFORMS: for which)

plugin-%:
	GOOS=$(word 1,$(subst -, ,$*)) GOARCH=$(word 2,$(subst -, ,$*)) $(BUILD) -o bin/plugin/$*/kubectl-hypervisor$(if $(findstring windows,$*),.exe) ./hypervisorctl

demo: ## Show a real VM's metric, served until Ctrl-C (ARGS=--once: exit)
	@.ci/packages $(VM_PACKAGES)
	$(BUILD) -o bin/$(ARCH)/ ./sidecar ./sidecar/demo
	bin/$(ARCH)/demo --sidecar bin/$(ARCH)/sidecar $(ARGS)

# -vet=off here and below: make lint vets all packages, while go test would vet their dependencies as well.
test: ## Test each program against real libvirt, QEMU and Prometheus
	@.ci/packages $(TEST_PACKAGES)
	go test -race -vet=off -timeout 20m $$(go list ./... | grep -vE '$(INTEGRATION)')

integration: integration-programs ## Test with a real kube-apiserver, Prometheus Operator and Helm
	go test -race -vet=off -timeout 30m $$(go list ./... | grep -E '$(INTEGRATION)')
	cd release && go test -vet=off ./...

# Built first, so that no test's time is spent on it.
integration-programs:
	@.ci/packages $(API_PACKAGES)
	go test -race -vet=off -timeout 20m -run TestServerIsTheVersion ./webhook/clustertest
	@for module in $$(git ls-files '*/clustertest/*go.mod'); do \
	  (set -x; cd "$${module%/go.mod}" && CGO_ENABLED=0 go build -o /dev/null ./...); done
	cd e2e/programs/monitoring && CGO_ENABLED=0 go build -o /dev/null github.com/prometheus-operator/prometheus-operator/cmd/operator
	cd charts/charttest/helm && CGO_ENABLED=0 go build -o /dev/null helm.sh/helm/v4/cmd/helm
	cd charts/charttest/helm3 && CGO_ENABLED=0 go build -o /dev/null helm.sh/helm/v3/cmd/helm

soak: integration-programs ## Run all tests with their long loops, and break each alert in each way
	@.ci/packages $(TEST_PACKAGES) docker-registry
	KHE_SOAK=1 go test -race -vet=off -tags mutants -timeout 3h ./...
	cd release && KHE_SOAK=1 go test -vet=off -timeout 1h ./...

test-arch: build image ## Build the image; run what is in those for arm64 and s390x in QEMU
	@.ci/packages $(ARCH_PACKAGES)
	go test -tags arch -run '^TestOther' -timeout 15m ./sidecar/acceptance

e2e: e2e-image ## Check the promises on a real cluster (E2E_KUBEVIRT=v1.6.0: older KubeVirt)
	cd e2e && go test . && go run . test $(ARGS)

e2e-up: e2e-image ## Start that cluster and leave it running; prints its kubeconfig
	cd e2e && go run . up

e2e-down: ## Remove that cluster
	cd e2e && go run . down

e2e-image:
	@.ci/packages $(E2E_PACKAGES)
	@$(MAKE) build image ARCHES=$(ARCH)
	ARCHIVE=bin/release.oci.tar .ci/image localhost/kubevirt-hypervisor-exporter:v9.8.7 $(ARCH)
	@$(MAKE) plugin PLATFORMS=linux-$(ARCH)
	@$(MAKE) bin/release

bench: ## Measure speed and memory beside yardsticks (ARGS="--quick webhook": a smoke test of one part)
	@.ci/packages $(VM_PACKAGES) $(API_PACKAGES)
	go run ./internal/bench $(ARGS)

fuzz: ## Fuzz each parser of foreign input for FUZZTIME
	@for package in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
	    go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package; done; done

lint: ## Check format, vet, staticcheck, shellcheck and dependencies
	@.ci/packages shellcheck
	@.ci/lint

image: $(ARCHES:%=programs-%) ## Build the image for ARCHES into bin/image.oci.tar, offline
	@.ci/packages buildah
	.ci/image $(REGISTRY)/$(REPOSITORY):$(TAG) $(ARCHES)

RELEASE = bin/release --version=$(VERSION) --registry=$(REGISTRY) --repository=$(REPOSITORY) --platforms="$(PLATFORMS)" $(DOCS:%=--docs=%) $(DOWNLOADS:%=--downloads=%)

release: ## Make dist/, all that a release publishes (VERSION, REGISTRY, REPOSITORY, PLATFORMS; DOCS, DOWNLOADS: URLs)
	@[ -z "$(filter-out $(ARCHES),$(ALL_ARCHES))" ] || { echo "make release needs ARCHES=\"$(ALL_ARCHES)\": its manifests and chart run the image on nodes of each" >&2; exit 1; }
	@$(MAKE) bin/release
	$(RELEASE) --check
	@$(MAKE) image TAG=$(VERSION)
	@$(MAKE) plugin
	$(RELEASE)

.PHONY: bin/release
bin/release:
	cd release && CGO_ENABLED=0 go build -o ../$@ .

push: bin/release ## Push the image and the chart of dist/ to the registry that it names, as `docker login` allows
	bin/release push $(ARGS)

sign: bin/release ## Sign both there (COSIGN_KEY=FILE; without it, with the identity that cosign asks for; ARGS: its flags)
	references=$$(bin/release references $(if $(filter --allow-http-registry,$(ARGS)),--plain-http)) && \
	CGO_ENABLED=0 go run $(COSIGN) sign --yes $(COSIGN_KEY:%=--key=%) $(ARGS) $$references

vulnerabilities: ## Check all dependencies for known vulnerabilities (asks vuln.go.dev)
	cd .ci/tools && for module in . release e2e; do (set -x; go tool govulncheck -C ../../$$module ./...); done

clean: ## Remove what was built
	rm -rf bin dist
