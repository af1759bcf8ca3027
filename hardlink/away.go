package hardlink

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/source"
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

// away is why a volume of production's is not here.
type away struct {
	why  string
	said bool
}

// isAway tells whether nothing can be had of a build, because its volume is not here.
func (e *Engine) isAway(b volumes.Build) bool { return e.away[b.Volume] != nil }

// findAway looks which of production's volumes, apart from DEFAULT, are not here.
func (e *Engine) findAway(plan volumes.Plan, samples map[string]*sample) map[string]*away {
	found := map[string]*away{}
	for _, volume := range e.opts.Unmounted {
		found[volume] = &away{"the configuration says that this site has no mount of it (unmounted)", true}
		if !slices.Contains(plan.Production, volume) {
			e.opts.Log.Warn("production has no volume of a name that --unmounted gives: correct it", "volume", volume)
		}
	}
	if e.opts.ReadOnly == "" {
		return found
	}
	for _, volume := range plan.Production {
		if volume == "" || volume == volumes.DefaultVolume || found[volume] != nil {
			continue
		}
		if why := e.lacks(plan, volume, samples[volume]); why != "" {
			found[volume] = &away{why: why}
		}
	}
	return found
}

// lacks says why a volume of production's is not here; "": it is. A build that is not on it, and that
// production moved since, speaks against that.
func (e *Engine) lacks(plan volumes.Plan, volume string, s *sample) string {
	dir, err := volumes.VolumeDir(volume)
	if err != nil {
		return "" // the plan holds it
	}
	packages := filepath.Join(e.opts.ReadOnly, dir, "packages")
	switch err := hasNames(packages); {
	case err == io.EOF && s == nil:
		return ""
	case err == io.EOF:
		return packages + " is empty"
	case source.Absent(err):
		return packages + " is not there"
	case err != nil:
		return err.Error()
	case s == nil:
		return ""
	}
	l := e.lookForStaged(plan, s.staged)
	for _, b := range s.others {
		l.add(e.look(b, ".", -1))
	}
	if l.bad > 1 && l.bad*2 > l.have || l.have == 0 && l.unreadable > 1 {
		return fmt.Sprintf("of %d builds that were looked for on it %d are not there as the database says: %v", l.have+l.unreadable, l.bad+l.unreadable, l.first)
	}
	return ""
}

// hasNames is io.EOF for an empty directory.
func hasNames(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Readdirnames(1)
	return err
}

// nowhere tells of the volumes that are not here, once it is known which builds are left out for them.
func (d *differ) nowhere(a *Actions) {
	for _, volume := range d.plan.Production {
		why := d.away[volume]
		if why == nil {
			continue
		}
		n := Nowhere{Volume: volume, Why: why.why, Said: why.said}
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

// awayBehind are staging's volumes that lead to volumes which should be here, and are not.
func (e *Engine) awayBehind(plan volumes.Plan) map[string]bool {
	behind := map[string]bool{}
	for _, v := range plan.Volumes {
		for volume, why := range e.away {
			if !why.said && v.Source == "vol/"+volume {
				behind[v.Name] = true
			}
		}
	}
	return behind
}
