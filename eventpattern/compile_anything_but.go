package eventpattern

const (
	mixedList         = "Inside anything but list, either all values are number or string, mixed type is not supported"
	unsupportedMember = "Inside anything but list, start|null|boolean is not supported."
)

// anythingBut reads a value, a list of values, or an object with one operator over either.
func (c *compiler) anythingBut(l *leaf) *SyntaxError {
	kind, err := c.next()
	if err != nil {
		return err
	}
	inner := ""
	if kind == tokenObjectStart {
		if inner, err = c.innerOperator(); err != nil {
			return err
		}
		if kind, err = c.next(); err != nil {
			return err
		}
	}
	if kind != tokenArrayStart && kind != tokenString && kind != tokenNumber {
		return c.fail("Value of anything-but must be an array or single string/number value.")
	}
	var but condition
	switch {
	case inner == "" && kind == tokenArrayStart:
		but, err = c.excludedList()
	case inner == "":
		but, err = c.excludedValue(kind)
	default:
		but, err = c.excludedTexts(inner, kind)
	}
	if err != nil {
		return err
	}
	but.negated = true
	l.add(but)
	if err := c.nextIs(tokenObjectEnd, tooManyTerms); err != nil || inner == "" {
		return err
	}
	return c.nextIs(tokenObjectEnd, tooManyTerms)
}

func (c *compiler) innerOperator() (string, *SyntaxError) {
	if err := c.nextIs(tokenName, "Anything-But expression name not found"); err != nil {
		return "", err
	}
	switch c.name {
	case "equals-ignore-case", "prefix", "suffix", "wildcard":
		return c.name, nil
	}
	return "", c.fail("Unsupported anything-but pattern: " + c.name)
}

func (c *compiler) excludedValue(kind token) (condition, *SyntaxError) {
	text, err := c.readText()
	if err != nil {
		return condition{}, err
	}
	if kind == tokenString {
		return condition{operator: opText, texts: []string{text}}, nil
	}
	n, ok := comparableNumber([]byte(text))
	if !ok {
		reason := "Cannot compare number : " + text // AWS gives no location
		return condition{}, &SyntaxError{Reason: reason, message: reason}
	}
	return condition{operator: opNumber, numbers: []float64{n}}, nil
}

// excludedList reads a list of strings or of numbers. AWS catches what is wrong inside the list
// and reports it again, so that the location is written twice.
func (c *compiler) excludedList() (condition, *SyntaxError) {
	var but condition
	for {
		kind, err := c.next()
		if err != nil {
			return but, c.again(err)
		}
		if kind == tokenArrayEnd {
			break
		}
		switch kind {
		case tokenString:
			text, err := c.readText()
			if err != nil {
				return but, c.again(err)
			}
			but.texts = append(but.texts, text)
		case tokenNumber:
			n, err := c.toCompare(c.text)
			if err != nil {
				return but, err
			}
			but.numbers = append(but.numbers, n)
		default:
			return but, c.again(c.fail(unsupportedMember))
		}
	}
	if (len(but.texts) > 0) == (len(but.numbers) > 0) {
		return but, c.fail(mixedList)
	}
	but.operator = opText
	if len(but.numbers) > 0 {
		but.operator = opNumber
	}
	return but, nil
}

// excludedTexts reads what an operator inside anything-but excludes: one string or a list of them.
func (c *compiler) excludedTexts(inner string, kind token) (condition, *SyntaxError) {
	var texts []string
	if kind != tokenArrayStart {
		text, err := c.excludedText(inner, kind)
		if err != nil {
			return condition{}, err
		}
		texts = append(texts, text)
		return c.exclude(inner, texts)
	}
	for {
		kind, err := c.next()
		if err != nil {
			return condition{}, c.again(err)
		}
		if kind == tokenArrayEnd {
			break
		}
		text, err := c.excludedText(inner, kind)
		if err != nil {
			return condition{}, c.again(err)
		}
		texts = append(texts, text)
	}
	if len(texts) == 0 {
		return condition{}, c.fail(mixedList) // AWS takes an empty list here and then cannot match with it
	}
	return c.exclude(inner, texts)
}

func (c *compiler) excludedText(inner string, kind token) (string, *SyntaxError) {
	if kind != tokenString {
		switch inner {
		case "equals-ignore-case":
			return "", c.fail("Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.")
		case "wildcard":
			return "", c.fail("wildcard match pattern must be a string")
		}
		return "", c.fail("prefix/suffix match pattern must be a string")
	}
	text, err := c.readText()
	if err != nil {
		return "", err
	}
	if text == "" && (inner == "prefix" || inner == "suffix") {
		return "", c.fail("Null prefix/suffix not allowed")
	}
	return text, nil
}

func (c *compiler) exclude(inner string, texts []string) (condition, *SyntaxError) {
	but := condition{texts: texts}
	switch inner {
	case "prefix":
		but.operator = opPrefix
	case "suffix":
		but.operator = opSuffix
	case "equals-ignore-case":
		but.operator = opFolded
		for _, text := range texts {
			but.folded = append(but.folded, foldText(text))
		}
	case "wildcard":
		but.operator = opWildcard
		for _, text := range texts {
			w, reason := parseWildcard(text)
			if reason != "" {
				return but, c.fail(reason)
			}
			but.wildcards = append(but.wildcards, w)
		}
	}
	return but, nil
}
