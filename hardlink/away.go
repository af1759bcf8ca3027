package hardlink

import (
	"fmt"

	"kojisnap/hardlink/ledger"
	"kojisnap/volumes"
)

// Nowhere is one of production's volumes that is not here: its mount is missing, or Options.Unmounted
// says so. Its builds that are not copied yet are left out.
type Nowhere struct {
	volumes.Link        // by which staging sees it; the zero value if it has none of its own
	Volume       string `json:"volume"`         // production's name of it
	Why          string `json:"why"`            // what was looked for, and is not there
	Builds       int    `json:"builds"`         // that are on it
	Wanted       int    `json:"wanted"`         // of these, builds to copy that are left out
	Said         bool   `json:"said,omitempty"` // Options.Unmounted names it
}

func (n Nowhere) String() string {
	return fmt.Sprintf("volume %q: %s, and %d builds are on that volume: %s", n.Volume, n.Why, n.Builds, n.cure())
}

func (n Nowhere) cure() string {
	if n.Said {
		return "they are left out"
	}
	return "mount production's volume there, or name it with --unmounted if this site never has it"
}

// held is what is said of builds that are left out for it.
func (n Nowhere) held() *HeldError {
	outcome := fmt.Sprintf("the %d builds on it that are to be copied stay where they are; %s", n.Wanted, n.cure())
	return &HeldError{Held: volumes.Held{Kind: "volume", Name: n.Volume, Reason: n.Why, Outcome: outcome}}
}

// nowhere tells of the volumes that are not here, once it is known which builds are left out for them.
func (d *differ) nowhere(a *Actions) {
	for _, volume := range d.plan.Production {
		why := d.tree.Away(volume)
		if why == nil {
			continue
		}
		n := Nowhere{Volume: volume, Why: why.Why, Said: why.Said}
		behind := ""
		for _, v := range d.plan.Volumes {
			if v.Source == "vol/"+volume {
				n.Link, behind = v.Link(d.treeFromVolume()), v.Name
			}
		}
		for _, b := range d.plan.Linked {
			if behind != "" && b.Volume == behind {
				n.Builds++
			}
		}
		for _, s := range d.plan.Staged {
			if s.Build.Volume == volume {
				n.Builds++
			}
		}
		for _, left := range a.away {
			if left == volume {
				n.Wanted++
			}
		}
		a.Nowhere = append(a.Nowhere, n)
		if n.Wanted > 0 && !n.Said {
			a.hold(n.held())
		}
	}
}

// leaveAway leaves a build as it is, because production's volume with it is not here.
func (d *differ) leaveAway(a *Actions, s volumes.StagedBuild, known *ledger.Build, leaveOut func()) {
	if known != nil && known.Complete {
		if present, absent, ok := known.Has(s.Files); ok {
			a.Present += present
			a.Absent += absent
			return
		}
	} else {
		leaveOut()
	}
	a.away = append(a.away, s.Build.Volume)
}
