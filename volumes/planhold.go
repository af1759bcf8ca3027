package volumes

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Held is one thing that is held back, with everything that depends on it. The rest is done.
type Held struct {
	Kind   string `json:"kind"` // build or volume; package hardlink has more
	Name   string `json:"name"` // N-V-R of a build, or the name of the volume
	Reason string `json:"reason"`
	// Outcome says what becomes of it, or what to do.
	Outcome string `json:"outcome"`
}

func (h Held) String() string {
	return fmt.Sprintf("%s %q: %s: %s", h.Kind, h.Name, h.Reason, h.Outcome)
}

// Outcomes of builds and volumes whose rows cannot be used.
const (
	staysReadOnly = "it stays on the read-only volume until production's row is corrected"
	notLinked     = "it has neither a copy nor a symlink on DEFAULT until production's row is corrected"
	noVolume      = "the volume gets no link, and the builds on it stay out"
)

// NewPlan decides which files must be where. A row that gives no valid path, digest or volume holds
// back its build or its volume: see Plan.Held. An error is never the fault of production's rows, but
// of the Want.
func NewPlan(in Input, want Want) (Plan, error) {
	w := newWanted(want)
	if err := CheckName("copy volume name", w.CopyVolume); err != nil {
		return Plan{}, err
	}
	p := planner{wanted: w, plan: Plan{CopyVolume: w.CopyVolume, Prod: want.Mapping.Staging(DefaultVolume)}, seen: map[string]bool{}}
	if err := p.volumes(in); err != nil {
		return Plan{}, err
	}
	staged, errs := w.builds(in.Builds)
	for i, b := range in.Builds {
		switch {
		case !p.add(b.Build):
		case errs[i] != nil:
			p.hold("build", b.NVR(), errs[i], staysReadOnly)
			p.link(b.Build, want.Mapping.Staging(b.Volume))
		default:
			p.plan.Staged = append(p.plan.Staged, staged[i])
			p.link(b.Build, w.CopyVolume)
		}
	}
	sure := map[string][]Build{} // at production, with files, by its volume
	for _, o := range in.Others {
		if !p.add(o.Build) {
			continue
		}
		if p.link(o.Build, want.Mapping.Staging(o.Volume)); o.Files {
			sure[o.Volume] = append(sure[o.Volume], o.Build)
		}
	}
	for _, b := range in.Decided {
		if p.add(b) {
			p.plan.Decided = append(p.plan.Decided, b)
		}
	}
	p.volumesHeld()
	slices.SortFunc(p.plan.Staged, func(a, b StagedBuild) int { return compareBuilds(a.Build, b.Build) })
	slices.SortFunc(p.plan.Linked, compareBuilds)
	slices.SortFunc(p.plan.Decided, compareBuilds)
	slices.SortFunc(p.plan.Held, func(a, b Held) int { return compareHeld(a, b) })
	const sample = 40
	for _, volume := range slices.Sorted(maps.Keys(sure)) {
		builds := sure[volume]
		slices.SortFunc(builds, compareBuilds)
		for i := range min(sample, len(builds)) {
			p.plan.Sample = append(p.plan.Sample, builds[i*len(builds)/min(sample, len(builds))])
		}
	}
	return p.plan, nil
}

// planner is the state of one call of NewPlan.
type planner struct {
	wanted
	plan   Plan
	seen   map[string]bool
	barred map[string]*barredVolume
}

// barredVolume is a volume of production that cannot have a link.
type barredVolume struct {
	why    error
	builds int
}

// volumes decides which of production's volumes get a link.
func (p *planner) volumes(in Input) error {
	names := slices.Clone(p.ProdVolumes)
	add := func(b Build) {
		if n := len(names); n == 0 || names[n-1] != b.Volume {
			names = append(names, b.Volume)
		}
	}
	for _, b := range in.Builds {
		add(b.Build)
	}
	for _, b := range in.Others {
		add(b.Build)
	}
	for _, b := range in.Decided {
		add(b)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	p.plan.Production = names
	usable, barred, err := p.Mapping.usable(names)
	if err != nil {
		return err
	}
	p.barred = map[string]*barredVolume{}
	for name, why := range barred {
		p.barred[name] = &barredVolume{why: why}
	}
	if p.plan.Volumes, err = p.Mapping.Links(usable); err != nil {
		return err
	}
	for _, name := range append([]string{p.plan.Prod}, linkNames(p.plan.Volumes)...) {
		if name == p.CopyVolume {
			return fmt.Errorf("the volume %q cannot be both the one to copy to and one of production's", name)
		}
	}
	return nil
}

// add reports whether a build can be in the plan. If not, it is held, alone or with its volume.
func (p *planner) add(b Build) bool {
	rel, err := b.Rel()
	if v := p.barred[b.Volume]; v != nil && err == nil {
		v.builds++
		return false
	}
	if err == nil && p.seen[rel] {
		err = fmt.Errorf("build %q: in the plan twice", b.NVR())
	}
	if err != nil {
		p.hold("build", b.NVR(), err, notLinked)
		return false
	}
	p.seen[rel] = true
	return true
}

func (p *planner) link(b Build, volume string) {
	b.Volume = volume
	p.plan.Linked = append(p.plan.Linked, b)
}

func (p *planner) hold(kind, name string, why error, outcome string) {
	reason := strings.TrimPrefix(why.Error(), fmt.Sprintf("%s %q: ", kind, name))
	p.plan.Held = append(p.plan.Held, Held{kind, name, reason, outcome})
}

// volumesHeld returns the barred volumes as Held.
func (p *planner) volumesHeld() {
	for name, v := range p.barred {
		outcome := noVolume
		if v.builds > 0 {
			outcome = fmt.Sprintf("the volume gets no link, and the %d builds on it stay out", v.builds)
		}
		p.hold("volume", name, v.why, outcome)
	}
}
