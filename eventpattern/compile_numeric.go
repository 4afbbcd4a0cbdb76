package eventpattern

// numeric reads a list of one comparison, or of a lower bound followed by an upper one.
func (c *compiler) numeric(l *leaf) *SyntaxError {
	if err := c.nextIs(tokenArrayStart, "Value of numeric must be an array."); err != nil {
		return err
	}
	kind, err := c.next()
	if err != nil {
		return err
	}
	operator, err := c.readText()
	if err != nil {
		return err
	}
	if kind != tokenString {
		return c.fail("Invalid member in numeric match: " + operator)
	}
	kind, err = c.next()
	if err != nil {
		return err
	}
	condition, err := c.comparison(operator, kind)
	if err != nil {
		return err
	}
	l.add(condition)
	return c.nextIs(tokenObjectEnd, tooManyTerms)
}

// comparison reads on from the number that follows the operator, up to the end of the list.
func (c *compiler) comparison(operator string, kind token) (condition, *SyntaxError) {
	switch operator {
	case "=":
		n, err := c.onlyTerm("equals", kind)
		return condition{operator: opNumber, numbers: []float64{n}}, err
	case "<", "<=":
		n, err := c.onlyTerm(operator, kind)
		return condition{operator: opRange, high: bound{value: n, set: true, open: operator == "<"}}, err
	case ">", ">=":
		return c.lowerBound(operator, kind)
	}
	return condition{}, c.fail("Unrecognized numeric range operator: " + operator)
}

func (c *compiler) onlyTerm(operator string, kind token) (float64, *SyntaxError) {
	text, err := c.operand(operator, kind)
	if err != nil {
		return 0, err
	}
	if err := c.nextIs(tokenArrayEnd, tooManyTerms); err != nil {
		return 0, err
	}
	return c.toCompare(text)
}

func (c *compiler) operand(operator string, kind token) (string, *SyntaxError) {
	if kind != tokenNumber {
		return "", c.fail("Value of " + operator + " must be numeric")
	}
	return c.text, nil
}

// toCompare converts a number; AWS does so only once the list has ended.
func (c *compiler) toCompare(text string) (float64, *SyntaxError) {
	n, ok := comparableNumber([]byte(text))
	if !ok {
		return 0, c.fail("Cannot compare number : " + text)
	}
	return n, nil
}

func (c *compiler) lowerBound(operator string, kind token) (condition, *SyntaxError) {
	low, err := c.operand(operator, kind)
	if err != nil {
		return condition{}, err
	}
	result := condition{operator: opRange, low: bound{set: true, open: operator == ">"}}
	kind, err = c.next()
	if err != nil {
		return condition{}, err
	}
	if kind == tokenArrayEnd {
		result.low.value, err = c.toCompare(low)
		return result, err
	}
	high, err := c.upperBound(kind, &result)
	if err != nil {
		return condition{}, err
	}
	if result.low.value, err = c.toCompare(low); err != nil {
		return condition{}, err
	}
	if result.high.value, err = c.toCompare(high); err != nil {
		return condition{}, err
	}
	if result.low.value >= result.high.value {
		return condition{}, c.fail("Bottom must be less than top")
	}
	return result, nil
}

// upperBound reads the second comparison and the end of the list; it returns the number's text.
func (c *compiler) upperBound(kind token, result *condition) (string, *SyntaxError) {
	operator, err := c.readText()
	if err != nil {
		return "", err
	}
	if kind != tokenString {
		return "", c.fail("Bad value in numeric range: " + operator)
	}
	if operator != "<" && operator != "<=" {
		return "", c.fail("Bad numeric range operator: " + operator)
	}
	result.high = bound{set: true, open: operator == "<"}
	kind, err = c.next()
	if err != nil {
		return "", err
	}
	high, err := c.operand(operator, kind)
	if err != nil {
		return "", err
	}
	return high, c.nextIs(tokenArrayEnd, "Too many terms in numeric range expression")
}
