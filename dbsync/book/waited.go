package book

import (
	"fmt"
	"strings"
	"time"
)

// Waited says how long a load waited before it began, and which processes it waited for.
type Waited struct {
	File    string   `json:"file"`    // on which they held a lock
	Seconds float64  `json:"seconds"` // until the load had the lock
	Holders []string `json:"holders"` // such as "pid 4711 (flock pungi-koji)", as far as it could be told
}

// String is the text without a subject: "waited 35m0s for pid 4711 (flock pungi-koji)".
func (w *Waited) String() string {
	who := "who held " + w.File
	if len(w.Holders) > 0 {
		who = strings.Join(w.Holders, ", ")
	}
	return fmt.Sprintf("waited %s for %s", (time.Duration(w.Seconds * float64(time.Second))).Round(time.Second/10), who)
}
