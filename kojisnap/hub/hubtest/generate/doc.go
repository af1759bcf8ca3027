// Package generate makes the rows of a hub as large as a distribution's (Hub), and changes rows at random as
// Koji would (Mutator). The tests of package hubtest test it: they serve its rows.
package generate
