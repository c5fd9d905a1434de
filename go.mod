module kubevirt-hypervisor-exporter

go 1.26
