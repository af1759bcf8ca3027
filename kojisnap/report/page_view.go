package report

import (
	"fmt"
	"strings"
	"time"

	"kojisnap/kojisnap"
	"kojisnap/kojisnap/verify"
)

// envView is an environment as the page shows it.
type envView struct {
	*Env
	N      int  // from 1, part of ids
	First  bool // shown at first
	Made   time.Time
	Matrix *matrix
	Charts []chart
}

func newEnvView(e *Env, n int, made time.Time) *envView {
	return &envView{Env: e, N: n, Made: made, Matrix: newMatrix(e.Checks), Charts: chartsOf(e.Syncs)}
}

// Held reports whether anything is known beside the verdict.
func (v *envView) Held() bool {
	return v.Verdict.State != kojisnap.StateUnknown || v.Event > 0 || len(v.Syncs) > 0
}

// Since reports whether earlier events may be pinned.
func (v *envView) Since() bool { return v.History < v.Event }

// SuccessAge is how long ago all was well.
func (v *envView) SuccessAge() string { return kojisnap.Age(max(0, v.Made.Sub(v.Success))) }

// keyList is a part of the configuration.
type keyList struct {
	Title string
	Keys  []ConfigKey
}

// Keys are the configuration: what is set, then the defaults.
func (v *envView) Keys() (lists []keyList) {
	var set, defaults []ConfigKey
	for _, k := range v.Config {
		if k.Default {
			defaults = append(defaults, k)
		} else {
			set = append(set, k)
		}
	}
	for _, l := range []keyList{{count(len(set)) + " keys that are set", set}, {count(len(defaults)) + " defaults", defaults}} {
		if len(l.Keys) > 0 {
			lists = append(lists, l)
		}
	}
	return lists
}

// Tone is the class of the verdict, Mark its sign.
func (v *envView) Tone() verify.Status {
	switch v.Verdict.State {
	case kojisnap.StateReady:
		if v.Overdue > 0 {
			return verify.StatusWarning
		}
		return verify.StatusOK
	case kojisnap.StateNotReady:
		return verify.StatusFailed
	case kojisnap.StateUnproven:
		return verify.StatusWarning
	}
	return verify.StatusSkipped
}

func (v *envView) Mark() string {
	switch v.Verdict.State {
	case kojisnap.StateReady:
		return "✓"
	case kojisnap.StateNotReady:
		return "✗"
	}
	return "?"
}

// CheckedText sums up the checks in a sentence.
func (v *envView) CheckedText() string {
	n := v.counts()
	var parts []string
	for _, s := range []struct {
		status verify.Status
		words  string
	}{{verify.StatusFailed, "failed"}, {verify.StatusWarning, "with a warning"}, {verify.StatusUnproven, "that proved nothing"}, {verify.StatusSkipped, "that could not be made"}, {verify.StatusOK, "ok"}} {
		if n[s.status] > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", count(n[s.status]), s.words))
		}
	}
	return fmt.Sprintf("%s checks at %s: %s.", count(len(v.Checks)), minute(v.Checked), strings.Join(parts, ", "))
}

// Used is the width of the part of the file system that is used, of 600.
func (v *envView) Used() int {
	f := v.Files
	return int(600 * float64(f.Room-f.Free) / float64(max(f.Room, 1)))
}

// trouble is a check that is not ok, with how it is shown.
type trouble struct {
	*matrixCell
	Open bool
	More int
}

// Troubled returns the checks that are not ok, the worst first. The first few that failed are open.
func (v *envView) Troubled() (all []trouble) {
	const few, opened = 5, 3
	for i, c := range v.troubled() {
		all = append(all, trouble{c, c.Status == verify.StatusFailed && i < opened && len(c.Entries) <= few, c.more()})
	}
	return all
}
