package checks

import "testing"

// Whether VMs are emulated KubeVirt knows for all of them alone, and a guest that acts is emulated (README). So these
// checks run together; in groups, as each guest that boots takes a CPU.
func TestEmulated(t *testing.T) {
	w := connect(t)
	w.startOnKVM(t) // for those that turn
	w.emulated(t)
	single := map[string]func(*testing.T, *world){
		"start":       func(t *testing.T, w *world) { checkStart(t, w, "qemu-tcg") },
		"guest":       checkGuest,
		"soft-reboot": checkSoftReboot,
		"turned":      checkTurned,
	}
	pairs := map[string]func(*testing.T, *world){}
	for _, e := range endings() {
		pairs[e.name] = e.check
	}
	backOff := map[string]func(*testing.T, *world){"back-off": checkBackOff} // by itself: it stops the kubelet
	for name, group := range map[string]map[string]func(*testing.T, *world){"one": single, "with-and-without": pairs, "no-kubelet": backOff} {
		t.Run(name, func(t *testing.T) {
			for name, check := range group {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					check(t, connect(t))
				})
			}
		})
	}
}
