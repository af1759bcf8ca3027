package report

import (
	"fmt"
	"math"

	"kojisnap/kojisnap"
)

// chart is a row of bars, one for each sync, the oldest first, with a slot for each that was missed.
type chart struct {
	Title, Last, Most string
	Width             int
	Syncs             int
	Bars              []bar
	From, To          string
}

type bar struct {
	X, Y, W, H int
	Cross      int // where the sign of a failed one begins
	Failed     bool
	Gap        bool // no bar: a scheduled sync was missed
	Label      string
}

// The slots of a chart, and how many of them a gap takes at most.
const (
	slots, slotWidth, barWidth, barHeight = 60, 10, 8, 146
	longestGap                            = 6
	fewSlots                              = 30 // with fewer, bars would be too broad
)

// chartsOf draws the last syncs: how long they took, the rows they changed, the bytes they made.
func chartsOf(syncs []SyncPoint) []chart {
	if len(syncs) == 0 {
		return nil
	}
	return []chart{
		newChart("Duration", syncs, func(s SyncPoint) float64 { return s.Seconds }, duration),
		newChart("Rows changed", syncs, func(s SyncPoint) float64 { return float64(s.Rows) }, func(x float64) string { return count(int64(x)) }),
		newChart("Bytes of files made", syncs, func(s SyncPoint) float64 { return float64(s.Bytes) }, func(x float64) string { return kojisnap.Size(int64(x)) }),
	}
}

func newChart(title string, syncs []SyncPoint, value func(SyncPoint) float64, text func(float64) string) chart {
	// From the latest back, as many as there is room for.
	n, used := 0, 0
	for n < len(syncs) && used < slots {
		used += 1 + min(syncs[n].Missed, longestGap)
		n++
	}
	shown := lastOf(syncs, n)
	most := 0.0
	for _, s := range shown {
		most = max(most, value(s))
	}
	c := chart{Title: title, Last: text(value(syncs[0])), Most: text(most), Syncs: n,
		From: minute(shown[0].Started), To: minute(shown[n-1].Started)}
	used -= min(shown[0].Missed, longestGap) // a gap before the first is not shown
	c.Width = slotWidth * max(used, fewSlots)
	x := c.Width - slotWidth*used // the latest is at the right
	for i, s := range shown {
		if i > 0 {
			for range min(s.Missed, longestGap) {
				c.Bars = append(c.Bars, bar{X: x + slotWidth/2, Gap: true, Label: fmt.Sprintf("%d missed before %s", s.Missed, minute(s.Started))})
				x += slotWidth
			}
		}
		v := value(s)
		h := 1
		if most > 0 {
			h = max(1, int(math.Round(barHeight*v/most)))
		}
		b := bar{X: x + 1, Y: 153 - h, W: barWidth, H: h, Failed: s.Exit != 0, Label: fmt.Sprintf("sync %d, %s: %s", s.ID, minute(s.Started), text(v))}
		if b.Failed {
			b.Label += fmt.Sprintf(", exit code %d", s.Exit)
			b.Cross = min(b.Y+2, 153-barWidth-2)
		}
		c.Bars = append(c.Bars, b)
		x += slotWidth
	}
	return c
}
