package repository

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"kojisnap/dbsync/setup"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
)

const heldPrefix = "held/"

// held is what an environment's database holds, as its last load stored it. A snapshot has only the
// revocations since the snapshot before it. So the next load reads all snapshots since the one that the
// database holds, and prune keeps these.
type held struct {
	Hub    string    `json:"hub"`
	Event  int64     `json:"event"`
	Loaded time.Time `json:"loaded"`
}

// PutHeld stores which snapshot an environment's database holds now, if that has changed. Prune keeps this
// snapshot and later ones of its hub.
func PutHeld(ctx context.Context, s store.Store, env string, snap *snapfile.Snapshot) error {
	object, err := environmentObject(heldPrefix, env)
	if err != nil {
		return err
	}
	if text, err := readObject(ctx, s, object); err == nil && text != nil {
		var was held
		if json.Unmarshal(text, &was) == nil && was.Hub == snap.Manifest.Hub && was.Event == snap.Manifest.Event {
			return nil
		}
	}
	text, err := json.Marshal(held{snap.Manifest.Hub, snap.Manifest.Event, time.Now().UTC()})
	if err != nil {
		return err
	}
	return s.Put(ctx, object, bytes.NewReader(text))
}

// readHeld returns what each environment holds.
func readHeld(ctx context.Context, s store.Store) (map[string]held, error) {
	entries, err := s.List(ctx, heldPrefix)
	if err != nil {
		return nil, err
	}
	all := map[string]held{}
	for _, e := range entries {
		env := strings.TrimPrefix(e.Name, heldPrefix)
		if setup.CheckEnvironment(env) != nil {
			continue
		}
		text, err := readObject(ctx, s, e.Name)
		if err != nil {
			return nil, err
		}
		if text == nil {
			continue // it vanished
		}
		var h held
		if err := json.Unmarshal(text, &h); err != nil {
			return nil, fmt.Errorf("%s in %s says what environment %s holds, and cannot be read (%w): remove it, and load again", e.Name, s, env, err)
		}
		all[env] = h
	}
	return all, nil
}

// neededBy returns the environments whose next load still needs a snapshot, of all with what they hold.
func neededBy(all map[string]held, m *snapfile.Manifest) []string {
	var envs []string
	for _, env := range slices.Sorted(maps.Keys(all)) {
		if h := all[env]; h.Hub == m.Hub && m.Event >= h.Event {
			envs = append(envs, env)
		}
	}
	return envs
}
