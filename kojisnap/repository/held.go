package repository

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
)

const heldPrefix = "held/"

// held is what an environment's database holds, in the form that a prune of an earlier kojisnap reads. Environment
// tells more, and this one reads both.
type held struct {
	Hub    string    `json:"hub"`
	Event  int64     `json:"event"`
	Loaded time.Time `json:"loaded"`
}

// PutHeld stores for a prune of an earlier kojisnap which snapshot an environment's database holds now, if that has
// changed. Prune keeps this snapshot and later ones of its hub.
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

// readHeld returns what each environment holds by what PutHeld stored.
func readHeld(ctx context.Context, s store.Store) (map[string]held, error) {
	all := map[string]held{}
	err := eachRecord(ctx, s, heldPrefix, func(env string, text []byte) error {
		var h held
		if err := json.Unmarshal(text, &h); err != nil {
			return err
		}
		all[env] = h
		return nil
	})
	return all, err
}
