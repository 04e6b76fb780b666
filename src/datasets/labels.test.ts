import { describe, expect, it } from 'vitest';
import { type LabelSetting, labelMeaning } from './labels.js';

const meanings = (values: readonly unknown[], setting?: LabelSetting) => {
  const labels = values.map((value, i) => ({ value, where: `f.jsonl:${i + 1}` }));
  const meaning = labelMeaning(labels, setting);
  return values.map(meaning);
};

describe('labels', () => {
  it.each<[readonly unknown[], readonly number[]]>([
    [
      [true, false],
      [1, -1],
    ],
    [
      [1, -1, 0, 0.5],
      [1, -1, 0, 0.5],
    ],
    [
      [1, 1],
      [1, 1],
    ],
    [[-1], [-1]],
    [[-0.2], [-0.2]],
  ])('%j mean %j without a setting', (labels, expected) => {
    expect(meanings(labels)).toEqual(expected);
  });

  it.each<[readonly unknown[], RegExp]>([
    [
      [1, 3, 4, 0],
      /f\.jsonl:2: the label 3 is not between −1 and 1: the labels are 0, 1, 3, 4\. Say which values/,
    ],
    [[1, 2, 1], /f\.jsonl:2: the label 2 is not between/],
    [[0, 1], /f\.jsonl:1: the labels are 0, 1, and none is negative.*language\.dataset\.labels: \{accepted/],
    [[1, 0.3], /f\.jsonl:2: the labels are 0\.3, 1, and none is negative.*labels: weights/],
    [[-2, 1], /the label -2 is not between/],
    [['good', 'bad'], /f\.jsonl:1: "good" is not a label.*feedback: \{name: threshold/],
    [[Number.NaN], /is not a label/],
    [[true, {}], /f\.jsonl:2: \{\} is not a label/],
  ])('%j are refused', (labels, message) => {
    expect(() => meanings(labels)).toThrow(message);
  });

  it('mean what the setting says, and others are left out', () => {
    expect(meanings([0, 1], { accepted: 1, rejected: 0 })).toEqual([-1, 1]);
    expect(meanings([1, 2], { accepted: [2], rejected: [1] })).toEqual([-1, 1]);
    expect(meanings(['Good', 'bad', 'so so'], { accepted: 'good', rejected: ['bad', 'awful'] })).toEqual([
      1,
      -1,
      undefined,
    ]);
    expect(meanings([true, false], { accepted: false, rejected: true })).toEqual([-1, 1]);
    expect(meanings([1, 0.3, 0], 'weights')).toEqual([1, 0.3, 0]);
    expect(() => meanings([4], 'weights')).toThrow(/the label 4 is not between/);
  });

  it('are refused if the setting takes one of them as accepted and as rejected', () => {
    expect(() => meanings(['Good', 'bad'], { accepted: 'good', rejected: ['bad', 'Good'] })).toThrow(
      /language\.dataset\.labels: 'good' is both accepted and rejected/,
    );
  });

  it('are refused if the setting names none of them', () => {
    expect(() => meanings(['yes', 'no'], { accepted: 'good', rejected: 'bad' })).toThrow(
      /language\.dataset\.labels: no label is one of its values: the labels are "no", "yes"/,
    );
  });
});
