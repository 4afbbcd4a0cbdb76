package eventpattern

import "net/netip"

const (
	onlyOneKey    = "Only one key allowed in match expression"
	tooManyTerms  = "Too many elements in numeric expression"
	foldNeedsText = "equals-ignore-case match pattern must be a string"
)

func singleAddress(addr netip.Addr) netip.Prefix { return netip.PrefixFrom(addr, addr.BitLen()) }

// operator reads an alternative that is an object with one key, the operator; its opening was read already.
func (c *compiler) operator(l *leaf) *SyntaxError {
	kind, err := c.next()
	if err != nil {
		return err
	}
	if kind != tokenName {
		return c.fail("Match expression name not found")
	}
	switch c.name {
	case "exactly":
		return c.exactly(l)
	case "prefix":
		return c.affix(l, "prefix", "Prefix", opPrefix, opFoldedStart)
	case "suffix":
		return c.affix(l, "suffix", "Suffix", opSuffix, opFoldedEnd)
	case "numeric":
		return c.numeric(l)
	case "anything-but":
		return c.anythingBut(l)
	case "exists":
		return c.exists(l)
	case "cidr":
		return c.cidr(l)
	case "equals-ignore-case":
		return c.equalsIgnoreCase(l)
	case "wildcard":
		return c.wildcard(l)
	}
	return c.fail("Unrecognized match type " + c.name)
}

// nextText reads the next token, which must be a string, and its text.
func (c *compiler) nextText(reason string) (string, *SyntaxError) {
	kind, err := c.next()
	if err != nil {
		return "", err
	}
	if kind != tokenString {
		return "", c.fail(reason)
	}
	return c.readText()
}

// nextIs reads the next token, which must be of the wanted kind.
func (c *compiler) nextIs(want token, reason string) *SyntaxError {
	kind, err := c.next()
	if err != nil {
		return err
	}
	if kind != want {
		return c.fail(reason)
	}
	return nil
}

func (c *compiler) exactly(l *leaf) *SyntaxError {
	text, err := c.nextText("exact match pattern must be a string")
	if err != nil {
		return err
	}
	l.add(condition{operator: opText, texts: []string{text}})
	return c.nextIs(tokenObjectEnd, onlyOneKey)
}

// affix reads prefix or suffix, either of which may hold equals-ignore-case.
func (c *compiler) affix(l *leaf, name, title string, plain, folded operator) *SyntaxError {
	kind, err := c.next()
	if err != nil {
		return err
	}
	if kind == tokenObjectStart {
		return c.foldedAffix(l, name, title, folded)
	}
	if kind != tokenString {
		return c.fail(name + " match pattern must be a string")
	}
	text, err := c.readText()
	if err != nil {
		return err
	}
	l.add(condition{operator: plain, texts: []string{text}})
	return c.nextIs(tokenObjectEnd, onlyOneKey)
}

func (c *compiler) foldedAffix(l *leaf, name, title string, folded operator) *SyntaxError {
	if err := c.nextIs(tokenName, title+" expression name not found"); err != nil {
		return err
	}
	if c.name != "equals-ignore-case" {
		return c.fail("Unsupported " + name + " pattern: " + c.name)
	}
	text, err := c.nextText(foldNeedsText)
	if err != nil {
		return err
	}
	l.add(condition{operator: folded, folded: []foldedText{foldText(text)}})
	if err := c.nextIs(tokenObjectEnd, onlyOneKey); err != nil {
		return err
	}
	return c.nextIs(tokenObjectEnd, onlyOneKey)
}

func (c *compiler) equalsIgnoreCase(l *leaf) *SyntaxError {
	text, err := c.nextText(foldNeedsText)
	if err != nil {
		return err
	}
	l.add(condition{operator: opFolded, folded: []foldedText{foldText(text)}})
	return c.nextIs(tokenObjectEnd, onlyOneKey)
}

func (c *compiler) wildcard(l *leaf) *SyntaxError {
	text, err := c.nextText("wildcard match pattern must be a string")
	if err != nil {
		return err
	}
	w, reason := parseWildcard(text)
	if reason != "" {
		return c.fail(reason)
	}
	l.add(condition{operator: opWildcard, wildcards: []wildcard{w}})
	return c.nextIs(tokenObjectEnd, onlyOneKey)
}

func (c *compiler) cidr(l *leaf) *SyntaxError {
	text, err := c.nextText("prefix match pattern must be a string") // AWS says prefix here
	if err != nil {
		return err
	}
	block, reason := parseCIDR(text)
	if reason != "" {
		return &SyntaxError{Reason: reason, message: reason} // AWS gives no location
	}
	l.add(condition{operator: opCIDR, block: block})
	return c.nextIs(tokenObjectEnd, onlyOneKey)
}

func (c *compiler) exists(l *leaf) *SyntaxError {
	kind, err := c.next()
	if err != nil {
		return err
	}
	switch kind {
	case tokenTrue:
		l.add(condition{operator: opExists})
	case tokenFalse:
		l.absent = true
	default:
		return c.fail("exists match pattern must be either true or false.")
	}
	return c.nextIs(tokenObjectEnd, onlyOneKey)
}
