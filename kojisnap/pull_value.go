package kojisnap

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/relation"
	"kojisnap/volumes"
)

// appendColumn appends what COPY text, before escaping, has for a value of the hub.
func appendColumn(dst []byte, c *relation.Column, v hub.Value) (out []byte, null bool, err error) {
	switch v.Kind() {
	case hub.Missing:
		if c.Since == 0 {
			return dst, false, fmt.Errorf("the hub's row has no such member")
		}
		if c.Missing == `\N` {
			return dst, true, nil
		}
		return append(dst, c.Missing...), false, nil
	case hub.Nil:
		if !c.Null {
			return dst, false, fmt.Errorf("NULL where Koji's schema has none")
		}
		return dst, true, nil
	}
	switch c.Type {
	case relation.Int4, relation.Int8:
		n, ok := v.Int()
		if !ok {
			return dst, false, fmt.Errorf("%s, not a number", v.Kind())
		}
		if c.Type == relation.Int4 && n != int64(int32(n)) {
			return dst, false, fmt.Errorf("%d does not fit an integer", n)
		}
		return strconv.AppendInt(dst, n, 10), false, nil
	case relation.Bool:
		b, ok := v.Bool()
		if !ok {
			return dst, false, fmt.Errorf("%s, not a boolean", v.Kind())
		}
		return append(dst, "ft"[btoi(b)]), false, nil
	case relation.Time:
		ts, ok := v.Float()
		if !ok {
			return dst, false, fmt.Errorf("%s, not seconds since 1970", v.Kind())
		}
		out, err := appendTime(dst, ts)
		return out, false, err
	}
	switch v.Kind() {
	case hub.String:
		return append(dst, v.Text()...), false, nil
	case hub.Struct, hub.Array, hub.Int, hub.Double, hub.Bool:
		// JSON in a text column, which the hub sends parsed.
		if c.Name == "extra" {
			out, err := v.JSON(dst)
			return out, false, err
		}
	}
	return dst, false, fmt.Errorf("%s, not text", v.Kind())
}

// appendTime writes a time as PostgreSQL writes timestamptz in UTC. Koji sends the seconds
// since 1970 as a double, whose 53 bits hold microseconds until the year 2255.
func appendTime(dst []byte, ts float64) ([]byte, error) {
	t, err := unixTime(ts)
	if err != nil {
		return dst, err
	}
	dst = t.AppendFormat(dst, "2006-01-02 15:04:05.999999")
	return append(dst, "+00"...), nil
}

func unixTime(ts float64) (time.Time, error) {
	micro := math.Round(ts * 1e6)
	if math.IsNaN(micro) || micro < 0 || micro > 1<<53 {
		return time.Time{}, fmt.Errorf("%v is not a time of Koji", ts)
	}
	return time.UnixMicro(int64(micro)).UTC(), nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// pathColumns are the columns that become components of paths below topdir, with what each is.
var pathColumns = map[string]map[string]string{
	"package":     {"name": "package name"},
	"volume":      {"name": "volume name"},
	"build":       {"version": "build version", "release": "build release"},
	"rpminfo":     {"name": "rpm name", "version": "rpm version", "release": "rpm release", "arch": "rpm arch"},
	"archiveinfo": {"filename": "archive file name"},
	"tag":         {"name": "tag name"},
}

// checkNames refuses names that cannot be part of a path: no build of that name could be
// copied, and nothing good is meant by them.
func checkNames(relationName string, rel *relation.Relation, row [][]byte) error {
	for column, what := range pathColumns[relationName] {
		check := volumes.CheckName
		if relationName == "volume" {
			check = volumes.CheckPath
		}
		if err := check(what, string(row[rel.Index(column)])); err != nil {
			return fmt.Errorf("%s %s: %w", relationName, row[0], err)
		}
	}
	if relationName == "rpmsigs" && len(row[1]) > 0 { // the empty key is an unsigned rpm's
		if err := volumes.CheckName("sigkey", string(row[1])); err != nil {
			return fmt.Errorf("signature of rpm %s: %w", row[0], err)
		}
	}
	return nil
}
