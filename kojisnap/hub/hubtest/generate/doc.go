// Package generate makes the rows of a hub as large as a distribution's (Hub), and changes rows at
// random as Koji would (Mutator). Its tests are those of hubtest, which serve what it makes.
package generate
