// Package eventpattern compiles Amazon EventBridge event patterns and matches events against them, one pattern or very many at once.
package eventpattern
