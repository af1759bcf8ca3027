package integration_test

import (
	"fmt"
)

var renamed = []string{"tag", "users", "build_target", "external_repo", "channels"}

// freshName is a new name, or one that production has made by now.
func (w *worker) freshName(table string) string {
	if w.rnd.IntN(2) == 0 {
		if theirs := w.theirs(table, nil); theirs != nil {
			return fmt.Sprint(theirs["name"])
		}
	}
	return w.word()
}

func (w *worker) someNamed(table string) []string {
	return w.pick("SELECT id, name FROM " + table + " WHERE id > 0 AND name <> 'kojisnap' ORDER BY id")
}

func (w *worker) rename() string {
	table := renamed[w.rnd.IntN(len(renamed))]
	r, name := w.someNamed(table), w.freshName(table)
	if r == nil {
		return ""
	}
	w.run("UPDATE "+table+" SET name = $2 WHERE id = $1", r[0], name)
	return fmt.Sprintf("renamed %s %s to %s", table, r[1], name)
}

func (w *worker) swap() string {
	table := renamed[w.rnd.IntN(len(renamed))]
	a, b := w.someNamed(table), w.someNamed(table)
	if a == nil || a[0] == b[0] {
		return ""
	}
	w.run("UPDATE "+table+" SET name = $2 WHERE id = $1", a[0], w.word())
	w.run("UPDATE "+table+" SET name = $2 WHERE id = $1", b[0], a[1])
	w.run("UPDATE "+table+" SET name = $2 WHERE id = $1", a[0], b[1])
	return fmt.Sprintf("swapped the names of %s %s and %s", table, a[1], b[1])
}

func (w *worker) newName() string {
	table := []string{"users", "package", "channels", "permissions", "external_repo", "groups"}[w.rnd.IntN(6)]
	name, columns, values := w.freshName(table), "name", "$1"
	if table == "users" {
		columns, values = "name, status, usertype", "$1, 0, 0"
	}
	id := w.get(fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s) RETURNING id", table, columns, values), name)
	if table == "external_repo" {
		w.create("external_repo_config", "external_repo_id, url", id, "https://stg.example.com/"+name)
	}
	return fmt.Sprintf("new %s %s", table, name)
}

func (w *worker) blockUser() string {
	u := w.someNamed("users")
	w.run("UPDATE users SET status = 1 - status WHERE id = $1", u[0])
	return "blocked or unblocked user " + u[1]
}

// revert takes an edit back.
func (w *worker) revert() string {
	now := w.read()
	var found [][3]string
	for _, table := range append([]string{"build"}, renamed...) {
		for _, key := range sorted(w.model.placed[table]) {
			if w.model.edited(table, key, now) {
				found = append(found, [3]string{table, key})
			}
		}
	}
	if len(found) == 0 {
		return ""
	}
	table, key := found[w.rnd.IntN(len(found))][0], ""
	for _, f := range found {
		if f[0] == table {
			key = f[1]
		}
	}
	was := w.model.placed[table][key]
	if table == "build" {
		if r := now[table][key]; r["create_event"] != was["create_event"] || r["state"] != was["state"] || r["draft"] != was["draft"] {
			return ""
		}
		w.run("UPDATE build SET owner = $2 WHERE id = $1", was["id"], was["owner"])
	} else {
		w.run("UPDATE "+table+" SET name = $2 WHERE id = $1", was["id"], was["name"])
	}
	return fmt.Sprintf("took back the edit of %s %s", table, key)
}
