import { describe, expect, it } from 'vitest';
import { formatCount, formatDuration, formatNumber } from './format.js';
import { mean, median, quantile, standardDeviation } from './statistics.js';

describe('formats', () => {
  it.each([
    [0.4, '0 s'],
    [59.4, '59 s'],
    [59.6, '1 min 00 s'],
    [200, '3 min 20 s'],
    [7500, '2 h 05 min'],
    [Number.NaN, '–'],
    [Number.POSITIVE_INFINITY, '–'],
  ])('writes %d seconds as %s', (seconds, text) => expect(formatDuration(seconds)).toBe(text));

  it.each([
    [0, '0'],
    [812.34, '812'],
    [100_000, '100,000'],
    [4.2049, '4.2'],
    [-0.0034, '−0.0034'],
    [0.00001234, '1.2e−5'],
    [-1.2e9, '−1.2e+9'],
    [undefined, '–'],
    [Number.NaN, '–'],
    [Number.NEGATIVE_INFINITY, '−∞'],
  ])('writes %s as %s', (value, text) => expect(formatNumber(value)).toBe(text));

  it('writes counts with thousands separators', () => {
    expect([1234567, Number.NaN].map(formatCount)).toEqual(['1,234,567', '–']);
  });
});

describe('statistics', () => {
  it('are those of NumPy', () => {
    const values = [4, 1, 3, 10];
    expect(mean(values)).toBe(4.5);
    expect(standardDeviation(values)).toBeCloseTo(3.3541019662496847, 12);
    expect([0, 0.25, 0.5, 0.75, 1].map((q) => quantile(values, q))).toEqual([1, 2.5, 3.5, 5.5, 10]);
    expect(median([5])).toBe(5);
    expect(median([])).toBeNaN();
  });
});
