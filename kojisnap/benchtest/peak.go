// Package benchtest has what benchmarks of several packages need.
package benchtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
)

// Peak is how many bytes of this process were resident at most, from /proc: what wait4(2) tells
// of a process begins with the memory of the one that started it.
func Peak() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, after, ok := bytes.Cut(status, []byte("VmHWM:"))
	if !ok {
		return 0, errors.New("/proc/self/status: no VmHWM")
	}
	var kib int64
	if _, err := fmt.Sscanf(string(after), "%d kB", &kib); err != nil {
		return 0, fmt.Errorf("/proc/self/status: VmHWM: %w", err)
	}
	return kib << 10, nil
}
