package tagged

import (
	"fmt"
)

// StateName returns Koji's name of a build's state (koji.BUILD_STATES).
func StateName(state int64) string {
	names := [...]string{"BUILDING", "COMPLETE", "DELETED", "FAILED", "CANCELED"}
	if state < 0 || state >= int64(len(names)) {
		return fmt.Sprintf("state %d", state)
	}
	return names[state]
}
