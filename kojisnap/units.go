package kojisnap

import (
	"fmt"
	"time"
)

// Age returns a duration as people write it: "51 min".
func Age(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// Size returns a number of bytes as people read it: "1.5 MiB".
func Size(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	x, unit := float64(n)/1024, 0
	for x >= 999.5 && unit < len(units)-1 {
		x, unit = x/1024, unit+1
	}
	if x < 10 {
		return fmt.Sprintf("%.1f %ciB", x, units[unit])
	}
	return fmt.Sprintf("%.0f %ciB", x, units[unit])
}
