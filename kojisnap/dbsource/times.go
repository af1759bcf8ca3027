package dbsource

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"kojisnap/kojisnap/pull/convert"
)

// appendUTC appends a time, as PostgreSQL writes it in DateStyle ISO, as a snapshot has it: in UTC, with the offset
// +00. One without an offset is of a column without a time zone, as Koji had them before 1.22; the hub takes these
// for UTC, too.
func appendUTC(dst, text []byte) ([]byte, error) {
	if bytes.HasSuffix(text, []byte("+00")) || bytes.HasSuffix(text, []byte("infinity")) {
		return append(dst, text...), nil
	}
	body, bc := bytes.CutSuffix(text, []byte(" BC"))
	if bytes.HasSuffix(body, []byte("+00")) {
		return append(dst, text...), nil
	}
	space := bytes.IndexByte(body, ' ')
	if space < 0 {
		return nil, fmt.Errorf("%.100q is not a time in DateStyle ISO", text)
	}
	zone := bytes.IndexAny(body[space:], "+-")
	if zone < 0 {
		if _, err := parseTime(body, bc); err != nil {
			return nil, fmt.Errorf("%.100q is not a time in DateStyle ISO: %w", text, err)
		}
		dst = append(append(dst, body...), "+00"...)
		if bc {
			dst = append(dst, " BC"...)
		}
		return dst, nil
	}
	zone += space
	offset, err := parseOffset(body[zone:])
	if err != nil {
		return nil, fmt.Errorf("%.100q is not a time in DateStyle ISO: %w", text, err)
	}
	t, err := parseTime(body[:zone], bc)
	if err != nil {
		return nil, fmt.Errorf("%.100q is not a time in DateStyle ISO: %w", text, err)
	}
	t = t.Add(-offset)
	return convert.AppendTime(dst, float64(t.Unix())+float64(t.Nanosecond()/1000)/1e6)
}

// parseUTC reads a time as a snapshot has it, of the years 0001 to 9999. All events of a source are read to find one, so
// the usual text is not left to package time, which takes ten times as long.
func parseUTC(text []byte) (time.Time, error) {
	slow := func() (time.Time, error) {
		t, err := time.Parse("2006-01-02 15:04:05.999999-07", string(text))
		return t.UTC(), err
	}
	const usual = "0000-00-00 00:00:00"
	body, utc := bytes.CutSuffix(text, []byte("+00"))
	if !utc || len(body) < len(usual) || len(body) > len(usual)+len(".000000") || len(body) == len(usual)+len(".") {
		return slow()
	}
	var n [7]int // year, month, day, hour, minute, second, millionths
	at, micro := 0, 100_000
	for i, c := range body {
		digit := c >= '0' && c <= '9'
		switch {
		case i >= len(usual):
			if i == len(usual) && c != '.' || i > len(usual) && !digit {
				return slow()
			} else if i > len(usual) {
				n[6] += int(c-'0') * micro
				micro /= 10
			}
		case usual[i] == '0' && digit:
			n[at] = n[at]*10 + int(c-'0')
		case usual[i] == c && !digit:
			at++
		default:
			return slow()
		}
	}
	t := time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], n[6]*1000, time.UTC)
	if n[3] > 23 || n[4] > 59 || n[5] > 59 || int(t.Month()) != n[1] || t.Day() != n[2] { // there is no such time
		return slow()
	}
	return t, nil
}

// parseOffset reads +HH, +HH:MM or +HH:MM:SS.
func parseOffset(text []byte) (time.Duration, error) {
	var total time.Duration
	unit := time.Hour
	for i, part := range bytes.Split(text[1:], []byte(":")) {
		n, err := strconv.ParseUint(string(part), 10, 8)
		if err != nil || i > 2 {
			return 0, fmt.Errorf("its offset is %q", text)
		}
		total += time.Duration(n) * unit
		unit /= 60
	}
	if text[0] == '-' {
		total = -total
	}
	return total, nil
}

// parseTime reads a time without its offset.
func parseTime(text []byte, bc bool) (time.Time, error) {
	dash := bytes.IndexByte(text, '-')
	if dash < 0 {
		return time.Time{}, fmt.Errorf("no year")
	}
	year, err := strconv.Atoi(string(text[:dash]))
	if err != nil {
		return time.Time{}, err
	}
	if bc {
		year = 1 - year
	}
	// A leap year stands for the year until the rest is read.
	rest, err := time.Parse("2006-01-02 15:04:05.999999", "2000"+string(text[dash:]))
	if err != nil {
		return time.Time{}, err
	}
	return time.Date(year, rest.Month(), rest.Day(), rest.Hour(), rest.Minute(), rest.Second(), rest.Nanosecond(), time.UTC), nil
}
