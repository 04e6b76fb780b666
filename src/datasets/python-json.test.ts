import { describe, expect, test } from 'vitest';
import { WholeFloat } from '../core/whole-float.js';
import { parsePythonJson, rowJsonParser } from './python-json.js';

describe('parsePythonJson', () => {
  test('keeps whole numbers that are written as floats', () => {
    expect(parsePythonJson('[1, 1.0, 0.5, -2.0, 1e3, "3.0", 10.05]')).toEqual([
      1,
      new WholeFloat(1),
      0.5,
      new WholeFloat(-2),
      new WholeFloat(1000),
      '3.0',
      10.05,
    ]);
  });

  test('takes the last of two equal keys, as JSON.parse does', () => {
    expect(parsePythonJson('{"a": 1.0, "a": 2}')).toEqual({ a: 2 });
  });

  test.each(['{"a": 1.0', '{"a": 1.0,}', '01.0', '1.0e'])('refuses %s', (text) => {
    expect(() => parsePythonJson(text)).toThrow(SyntaxError);
  });

  test('gives numbers as JSON again', () => {
    expect(JSON.stringify(parsePythonJson('{"least": 1.0}'))).toBe('{"least":1}');
  });
});

describe('rowJsonParser', () => {
  test('keeps floats in what chat templates are given, and has plain numbers elsewhere', () => {
    const text =
      '{"score": 1.0, "tools": [{"least": 1.0}], "chosen": [{"tool_calls": [{"x": 2.0}], "weight": 2.0}]}';
    expect(rowJsonParser()(text)).toEqual({
      score: 1,
      tools: [{ least: new WholeFloat(1) }],
      chosen: [{ tool_calls: [{ x: new WholeFloat(2) }], weight: 2 }],
    });
  });

  test('keeps floats in columns that a configuration names', () => {
    const text = '{"functions": [{"least": 1.0}], "score": 1.0}';
    expect(rowJsonParser(['functions'])(text)).toEqual({
      functions: [{ least: new WholeFloat(1) }],
      score: 1,
    });
  });
});
