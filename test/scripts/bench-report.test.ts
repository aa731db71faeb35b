import { changes, figureTable, goalTable } from '../../scripts/bench-report';

const ROW = { part: 'requests', at: 'near', unit: 'ms', low: 0, high: 0, rounds: 1, failed: 0 };

function kept(ours: number, go: number) {
  return [
    { ...ROW, who: 'ours', what: 'GET kept, CPU', median: ours },
    { ...ROW, who: 'go', what: 'GET kept, CPU', median: go },
  ];
}

test('a goal is met, missed, or not measured', () => {
  const lines = goalTable([...kept(0.3, 0.5), { ...ROW, who: 'ours', what: 'POST kept, CPU', median: 0.6 }]);

  expect(lines).toContain('| CPU of a kept GET, by that of go | 0.75 x | 0.60 x | met |');
  expect(lines).toContain('| CPU of a kept POST, by that of a GET | 1.1 x | 2.00 x | **missed** |');
  expect(lines).toContain('| first https beyond the second | 10 ms | not measured |  |');
});

test('the table has a column for each contender that was measured, and a line for each figure but the tails', () => {
  const lines = figureTable([
    { ...ROW, who: 'ours', what: 'GET kept, median', median: 1.5, low: 1.25, high: 123, rounds: 3 },
    { ...ROW, who: 'ours', what: 'GET kept, p99', median: 9 },
    { ...ROW, who: 'direct', what: 'GET kept, median', median: 0.5, failed: 2 },
  ]);

  expect(lines).toEqual([
    '| part | at | what | direct | ours |',
    '| --- | --- | --- | --- | --- |',
    '| requests | near | GET kept, median, ms | 0.50, 2 failed | 1.50 (1.25 to 123) |',
  ]);
});

test('a change is named where a goal\'s figure moved by more than 15 %', () => {
  expect(changes(kept(0.3, 0.5), kept(0.33, 0.5))).toEqual([]);
  expect(changes(kept(0.3, 0.5), kept(0.4, 0.5))).toEqual(['CPU of a kept GET, by that of go: 0.80 x before, 0.60 x now']);
  expect(changes(kept(0.3, 0.5), [])).toEqual([]);
});
