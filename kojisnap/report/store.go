package report

import (
	"cmp"
	"fmt"
	"time"

	"kojisnap/kojisnap"
)

// FromStore is what a store has on record of an environment whose database cannot be asked.
func FromStore(s kojisnap.EnvironmentStatus, now time.Time) Env {
	e := Env{Name: s.Name, StoreOnly: true, Hub: s.Hub, Snapshot: s.Snapshot, Event: cmp.Or(s.Pin, s.Event), EventTime: s.EventTime, Success: s.Succeeded()}
	e.History = e.Event // whether earlier ones may be pinned, the store does not know
	if s.Newest != "" {
		e.Drift = &kojisnap.Drift{Snapshot: s.Newest, Event: s.NewestEvent, Loaded: s.Behind <= 0, Events: s.Behind, Seconds: s.BehindSeconds}
	}
	e.Verdict = storeVerdict(s, e.Event, now)
	return e
}

func storeVerdict(s kojisnap.EnvironmentStatus, event int64, now time.Time) kojisnap.Verdict {
	verify := kojisnap.Cause{What: "No sync has verified what is loaded.", Cure: "Run kojisnap verify; kojisnap sync verifies each time."}
	switch {
	case s.Sync == nil && s.Event == 0:
		return kojisnap.UnknownVerdict("nothing is on record in the store", "Run kojisnap sync for this environment.")
	case !s.Whole():
		return kojisnap.Verdict{State: kojisnap.StateUnproven, Text: fmt.Sprintf("NOT PROVEN: event %d is loaded, and no sync has verified it since", event), Causes: []kojisnap.Cause{verify}}
	case s.Sync.Exit == 0 && s.Sync.Checks != nil && event > 0:
		return kojisnap.Verdict{State: kojisnap.StateReady, Text: fmt.Sprintf("READY at event %d, %s old", event, kojisnap.Age(max(0, now.Sub(s.Sync.Succeeded))))}
	case s.Sync.Exit == 0:
		return kojisnap.Verdict{State: kojisnap.StateUnproven, Text: fmt.Sprintf("NOT PROVEN: event %d is loaded, and the sync did not verify it", event), Causes: []kojisnap.Cause{verify}}
	case s.Sync.Exit == 3 || s.Sync.Exit == 6:
		why := cmp.Or(s.Sync.Error, fmt.Sprintf("exit code %d", s.Sync.Exit))
		return kojisnap.Verdict{State: kojisnap.StateNotReady, Text: "NOT READY: " + why,
			Causes: []kojisnap.Cause{{What: "The environment's own report says more.", Cure: "Run kojisnap report where its database answers."}}}
	}
	return kojisnap.Verdict{State: kojisnap.StateUnproven, Text: fmt.Sprintf("NOT PROVEN: the last sync failed %s ago", kojisnap.Age(max(0, now.Sub(s.Sync.Finished)))),
		Causes: []kojisnap.Cause{{What: fmt.Sprintf("Exit code %d: %s", s.Sync.Exit, cmp.Or(s.Sync.Error, "no reason is on record")), Cure: kojisnap.ExitCure(s.Sync.Exit)}}}
}
