package kojisnap

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"kojisnap/kojisnap/verify"
)

// State is what the records say of a staging.
type State string

// The states.
const (
	StateReady    State = "ready"     // the last sync verified it, and nothing was loaded since
	StateNotReady State = "not ready" // the last sync found what composes miss, or nothing was loaded yet
	StateUnproven State = "unproven"  // nobody has verified what it holds now
	StateUnknown  State = "unknown"   // its records cannot be read
)

// Verdict says whether a staging is compose-ready, as far as its records tell, why not, and what helps.
type Verdict struct {
	State  State   `json:"state"`
	Text   string  `json:"text"` // one line, which begins with the state in capitals
	Causes []Cause `json:"causes,omitempty"`
}

// Cause is one reason why staging is not ready, or not known to be.
type Cause struct {
	About string `json:"about,omitempty"` // the check of verify, if it is one
	What  string `json:"what"`
	Cure  string `json:"cure"`
}

// String is the cause without the cure, for people.
func (c Cause) String() string {
	if c.About == "" {
		return c.What
	}
	return c.About + ": " + c.What
}

// UnknownVerdict is the verdict on a staging whose records cannot be read.
func UnknownVerdict(why, cure string) Verdict {
	return Verdict{StateUnknown, "UNKNOWN: " + why, []Cause{{What: "What is on record cannot be read.", Cure: cure}}}
}

// Judge returns the verdict on a staging.
func (s *StagingStatus) Judge() Verdict {
	if i := s.Importing; i != nil {
		return Verdict{StateNotReady, fmt.Sprintf("NOT READY: a full import of snapshot %s fills the database", i.Snapshot),
			[]Cause{{What: "A full import is under way, or was broken off.", Cure: fmt.Sprintf("If it was broken off, run kojisnap load --snapshot %s, which goes on with it.", i.Snapshot)}}}
	}
	if s.Event == 0 {
		return Verdict{StateNotReady, "NOT READY: nothing was loaded yet", []Cause{{What: "The database holds no event of production.", Cure: "Run kojisnap sync."}}}
	}
	if !s.Whole() {
		text := fmt.Sprintf("NOT PROVEN: event %d is loaded, and no sync has verified it", s.Event)
		cure := "Run kojisnap verify; kojisnap sync verifies each time."
		if len(s.Syncs) > 0 {
			return Verdict{StateUnproven, text + " since", []Cause{{What: "A load succeeded after the last sync.", Cure: cure}}}
		}
		return Verdict{StateUnproven, text, []Cause{{What: "Loads run by themselves here.", Cure: cure}}}
	}
	last := s.Syncs[0]
	report, err := ReadSyncReport(last)
	switch {
	case err != nil:
		return UnknownVerdict("the record of the last sync cannot be read: "+err.Error(), "Update kojisnap, or run kojisnap sync again.")
	case last.Exit == 0 && report.Verified():
		return Verdict{State: StateReady, Text: fmt.Sprintf("READY at event %d, %s old", s.Event, Age(s.Age()))}
	case last.Exit == 0:
		return Verdict{StateUnproven, fmt.Sprintf("NOT PROVEN: event %d is loaded, and the sync did not verify it", s.Event),
			[]Cause{{What: "The last sync ran with --no-verify.", Cure: "Run kojisnap verify on a host that reaches staging's hub."}}}
	case last.Exit == 3 || last.Exit == 6:
		causes, short := report.causes(last.Exit, last.Error)
		return Verdict{StateNotReady, "NOT READY: " + short, causes}
	}
	step := ""
	if n := len(report.Steps); n > 0 && report.Steps[n-1].Error != "" {
		step = " at " + report.Steps[n-1].Name
	}
	v := Verdict{State: StateUnproven, Text: fmt.Sprintf("NOT PROVEN: the last sync failed%s, %s ago", step, Age(s.Now.Sub(last.Finished)))}
	if good := s.LastGoodSync; good != nil {
		v.Text += fmt.Sprintf("; the last good one ended %s ago", Age(s.Now.Sub(good.Finished)))
	}
	v.Causes = []Cause{{What: fmt.Sprintf("Exit code %d: %s", last.Exit, cmp.Or(last.Error, "no reason is on record")), Cure: ExitCure(last.Exit)}}
	return v
}

// ExitCure says what helps after a sync that failed on its way.
func ExitCure(exit int) string {
	switch exit {
	case 2:
		return "Correct the command line or the configuration: the message names the flag or the key."
	case 4:
		return "Another kojisnap is at work: wait for it."
	case 5:
		return "The next sync tries again; if this stays so, look at the hub, the network or the database that the message names."
	}
	return "Run kojisnap doctor, which checks the installation, then kojisnap sync -v."
}

// Verified reports whether the sync reached verify and verify came to a result.
func (r *SyncReport) Verified() bool {
	return slices.ContainsFunc(r.Steps, func(s SyncStep) bool { return s.Name == "verify" && s.Error == "" })
}

// causes returns why a sync ended with exit code 3 or 6, and the same in a few words: "3 of 212 files".
func (r *SyncReport) causes(exit int, said string) (causes []Cause, short string) {
	type sum struct{ bad, count, checks int }
	sums := map[string]*sum{}
	var names []string
	for _, c := range r.Checks {
		if c.Status != verify.StatusFailed {
			continue
		}
		if sums[c.Name] == nil {
			sums[c.Name] = &sum{}
			names = append(names, c.Name)
		}
		s := sums[c.Name]
		s.bad, s.count, s.checks = s.bad+c.Bad, s.count+c.Count, s.checks+1
	}
	var words []string
	for _, name := range names {
		s := sums[name]
		what := fmt.Sprintf("%d of %d", s.bad, s.count)
		if s.bad == 0 { // what it wants is not there at all
			what = "failed"
			words = append(words, name)
		} else {
			words = append(words, what+" "+name)
		}
		causes = append(causes, Cause{name, what + inChecks(s.checks), CheckCure(name)})
	}
	if r.Missing > 0 {
		words = append(words, fmt.Sprintf("%d at no source", r.Missing))
		causes = append(causes, Cause{What: fmt.Sprintf("No source has %d files. Their builds stay on production's volume.", r.Missing),
			Cure: "kojisnap copy --dry-run names them. See that the source is whole. Ask production's release engineers for what production itself lacks."})
	}
	if r.Held > 0 {
		words = append(words, fmt.Sprintf("%d things kept back by the copy", r.Held))
		causes = append(causes, Cause{What: fmt.Sprintf("%d other things were kept back by the copy.", r.Held), Cure: "kojisnap copy --dry-run names each with its reason."})
	}
	if len(words) == 0 {
		said = cmp.Or(said, fmt.Sprintf("exit code %d without a reason on record", exit))
		return []Cause{{What: said, Cure: "kojisnap sync names what production could not give or staging could not hold; each sync tries it again."}}, said
	}
	const shown = 2
	if len(words) > shown+1 {
		return causes, fmt.Sprintf("%s, and %d more reasons", strings.Join(words[:shown], ", "), len(words)-shown)
	}
	return causes, strings.Join(words, ", ")
}

func inChecks(n int) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprintf(", in %d checks", n)
}

// CheckCure says what helps if a check of verify is not ok.
func CheckCure(name string) string {
	name = strings.TrimPrefix(name, "build ")
	if strings.HasPrefix(name, "channel ") {
		return "Only composes that run tasks in staging need it: add the channel, or a host, in staging's Koji."
	}
	if cure, ok := checkCures[name]; ok {
		return cure
	}
	return "kojisnap verify -v says more."
}

const rowsCure = "Run kojisnap load --audit, which compares all rows and repairs them; kojisnap diff staging lists what staging changed itself."

var checkCures = map[string]string{
	"hub":               "See that staging's hub runs, and that hub in [verify] leads to it.",
	"event":             "Run kojisnap load: the database is not at the snapshot's event.",
	"history":           "Run kojisnap pull --since EVENT and then kojisnap load, or pin a later event.",
	"tag":               "Run kojisnap sync; kojisnap status -v says whether staging has the tag under another name.",
	"tags":              "Correct the pattern in tag or compose-tag: it chooses nothing.",
	"names":             "Ask for these by staging's names, or undo the renaming in staging.",
	"package filters":   "Ask production to correct the filter of the inheritance; until then its builds stay as they are.",
	"inheritance":       rowsCure,
	"rpms":              rowsCure,
	"signatures":        rowsCure,
	"external repos":    rowsCure,
	"modules":           rowsCure,
	"module archives":   rowsCure,
	"archives":          rowsCure,
	"builds":            rowsCure,
	"content tags":      "Pull with --content-tags, the default; ask the module's owner about a content tag that production deleted.",
	"hidden":            "Untag staging's own build, or tag production's again in staging; calls that are pinned at a loaded event do not see it.",
	"on record":         "Nothing to do: staging's own decisions explain it.",
	"unsigned":          "Dist repos need signed rpms: wait until production signs them.",
	"signed copies":     "Wait until production signs them with a wanted key, or name another key with --sigkey.",
	"files":             "Run kojisnap copy --audit --repair, which makes them again. Ask production's release engineers for what production itself lacks.",
	"sources":           "Run kojisnap copy --audit --repair; Pungi only warns about a build without a source rpm.",
	"archive files":     "Run kojisnap copy --audit --repair, which makes them again.",
	"module files":      "Run kojisnap copy --audit --repair, which makes them again.",
	"unmounted volumes": "Mount the volume and take it out of unmounted, or accept that composes cannot have these builds.",
	"links":             "Put the compose directory and topdir on one mount, and let the compose user read and link the files.",
	"placement":         "Run kojisnap copy: these are not where a compose can link them.",
	"clone":             "Make a new clone with kojisnap sync: production's tree changed after this one was made, or it is not mounted.",
	"clone links":       "Composes take room for what they copy: put the compose directory into the clone's own mount.",
	"room":              "Make room where composes write, or keep copies for fewer days (--keep-days).",
	"trial":             "Run kojisnap verify --compose DIR --debug, which repeats the trial and shows its commands.",
	"image":             "Name an image for the tag in [verify.image], and pull it on this host: kojisnap pulls none.",
	"environment":       "Use an image of the release that the tag is composed for, with createrepo_c and rpm in it.",
	"rpm -K":            "Run kojisnap copy --audit --repair: the rpm of the target's release finds these files damaged, or does not know their compression.",
	"closure":           "Only a warning, as such packages may come from another repository: add the tag that has them, or tell the packagers.",
	"compose-run":       "Run the command by hand in the image: its last lines are in the check.",
	"topurl":            "See that the web server serves topdir with its symlinks, and that topurl leads to it.",
	"arches":            "Correct the tag's inheritance in staging: its configuration cannot be asked for.",
	"repo":              "Only composes that run tasks in staging need it: let kojira, or koji regen-repo, make the repository.",
	"targets":           "Only composes that run tasks in staging need them: add the targets in Koji or in the overlay.",
}
