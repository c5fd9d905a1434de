# The table of contents: `make help` prints it. Each target is a line or two;
# what is longer is a program in the folder that it belongs to.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
REGISTRY ?= localhost/kubevirt-hypervisor-exporter
TAG      ?= v0.1.0
ARCHES   ?= amd64 arm64 s390x
FUZZTIME ?= 30s
ARGS     ?=

ARCH := $(shell go env GOARCH)
V    := github.com/prometheus/common/version
# nethttpomithttp2: 0.5 MB less; neither a scrape nor an admission uses HTTP/2.
BUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags nethttpomithttp2 \
         -ldflags "-s -w -X $(V).Version=$(VERSION) -X $(V).Revision=$(REVISION)"

# Debian packages, as package or command:package where the command is enough.
VM_PACKAGES   := libvirt-daemon libvirt-daemon-driver-qemu virsh:libvirt-clients qemu-system-x86_64:qemu-system-x86 unshare:util-linux
TEST_PACKAGES := $(VM_PACKAGES) gcc libc6-dev prometheus etcd-server buildah curl nft:nftables ip:iproute2 setpriv:util-linux
ARCH_PACKAGES := $(VM_PACKAGES) gcc libc6-dev qemu-user-static
E2E_PACKAGES  := debootstrap gcc libc6-dev libvirt-dev pkg-config xorriso cpio iproute2 util-linux buildah docker-registry

.PHONY: help build demo test test-arch test-programs e2e e2e-up e2e-down bench fuzz lint image clean
help: ## Print this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 12

build: $(ARCHES:%=build-%) ## Build the static binaries into bin/ARCH/

build-%:
	GOARCH=$* $(BUILD) -o bin/$*/ ./sidecar ./sidecar/supervisor ./webhook ./relay
	GOARCH=$* $(BUILD) -o bin/$*/kubectl-hypervisor ./hypervisorctl

demo: build-$(ARCH) ## Show a real VM's metric, served until Ctrl-C (ARGS=--once: exit)
	@.ci/packages $(VM_PACKAGES)
	go run ./sidecar/demo --sidecar bin/$(ARCH)/sidecar $(ARGS)

test: image test-programs ## Prove everything short of the cluster, against real libvirt and API server
	@.ci/packages $(TEST_PACKAGES)
	go test -race -timeout 20m ./...

test-arch: build-arm64 build-s390x ## Run what is built for arm64 and s390x in QEMU, beside a real libvirt
	@.ci/packages $(ARCH_PACKAGES)
	go test -tags arch -run '^TestOther' -timeout 15m ./sidecar/acceptance

# Other people's programs that the tests run, built first so that no test's time is spent on it.
test-programs:
	@.ci/packages etcd-server
	go test -timeout 20m -run TestServerIsTheVersion ./webhook/clustertest
	cd webhook/clustertest/operatorconfig && CGO_ENABLED=0 go build -o /dev/null .
	cd webhook/clustertest/poddiscovery && CGO_ENABLED=0 go build -o /dev/null .
	cd charts/charttest/helm && CGO_ENABLED=0 go build -o /dev/null helm.sh/helm/v4/cmd/helm

e2e: image ## Check the promises on a real cluster (E2E_KUBEVIRT=v1.6.0: older KubeVirt)
	@.ci/packages $(E2E_PACKAGES)
	cd e2e && go test . && go run . test $(ARGS)

e2e-up: image ## Leave that cluster standing; prints its kubeconfig
	@.ci/packages $(E2E_PACKAGES)
	cd e2e && go run . up

e2e-down: ## Take that cluster away
	cd e2e && go run . down

bench: ## Measure speed and memory beside yardsticks (ARGS=--quick: roughly)
	@.ci/packages $(VM_PACKAGES)
	go run ./internal/bench/sidecar $(ARGS)
	go run ./internal/bench/webhook $(ARGS)
	go run ./internal/bench/relay $(ARGS)
	go run ./internal/bench/flood $(ARGS)

fuzz: ## Fuzz each parser of foreign input for FUZZTIME
	@for package in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
	    go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package; done; done

lint: ## Check format, vet, staticcheck, shellcheck and dependencies
	@.ci/packages shellcheck
	@.ci/lint

image: build ## Build the multi-arch images from the binaries, offline
	@.ci/packages buildah
	.ci/image sidecar $(REGISTRY)/sidecar:$(TAG) "sidecar supervisor" $(ARCHES)
	.ci/image webhook $(REGISTRY)/webhook:$(TAG) webhook $(ARCHES)
	.ci/image relay $(REGISTRY)/relay:$(TAG) relay $(ARCHES)

clean: ## Remove what was built
	rm -rf bin
