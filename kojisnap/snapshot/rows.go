package snapshot

import (
	"context"
	"fmt"

	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// EachRow calls fn for the rows of a relation in a snapshot's view. A row is valid only during the call.
func EachRow(ctx context.Context, s *snapfile.Snapshot, rel *relation.Relation, fn func(row [][]byte) error) error {
	return each(s, rel, s.Rows(ctx, rel.Name), fn)
}

// EachRevoked calls fn for the revoked rows of a relation. A row is valid only during the call.
func EachRevoked(ctx context.Context, s *snapfile.Snapshot, rel *relation.Relation, fn func(row [][]byte) error) error {
	return each(s, rel, s.Revoked(ctx, rel.Name), fn)
}

func each(s *snapfile.Snapshot, rel *relation.Relation, rows *snapfile.Rows, fn func(row [][]byte) error) error {
	defer rows.Close()
	var row [][]byte
	for rows.Next() {
		var err error
		if row, err = rows.Fields(row); err != nil {
			return fmt.Errorf("snapshot %s, %s: %w", s.ID, rel.Name, err)
		}
		if err := fn(row); err != nil {
			return fmt.Errorf("snapshot %s, %s: %w", s.ID, rel.Name, err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("snapshot %s, %s: %w", s.ID, rel.Name, err)
	}
	return nil
}

// RowKey identifies a row among the rows of all relations.
func RowKey(rel *relation.Relation, row [][]byte) string {
	key := []byte(rel.Name)
	for _, i := range rel.KeyIndexes() {
		key = append(append(key, 0), row[i]...)
	}
	return string(key)
}

// keyOfText is RowKey for the texts of a key.
func keyOfText(rel *relation.Relation, key []string) string {
	row := make([][]byte, len(rel.Columns))
	for n, i := range rel.KeyIndexes() {
		row[i] = []byte(key[n])
	}
	return RowKey(rel, row)
}

// MaxEvents is how many events a pull with history takes that no row names. A medium hub has as many in a month.
const MaxEvents = 20_000
