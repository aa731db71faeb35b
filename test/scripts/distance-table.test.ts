import { table } from '../../scripts/distance-table';

const MEASURED = { profile: '30 ms', udp: true, medianMs: 0, maxMs: 0 };

test('puts what was measured at one distance into one line', () => {
  const lines = table([
    { ...MEASURED, part: 'cold start', who: 'bare', what: 'key read', medianMs: 64 },
    { ...MEASURED, part: 'cold start', who: 'bare', what: 'ready', medianMs: 250.4 },
    { ...MEASURED, part: 'cold start', who: 'bare', what: 'first answer', medianMs: 189 },
    { ...MEASURED, part: 'cold start', who: 'ours', what: 'ready', medianMs: 1254 },
    { ...MEASURED, part: 'cold start', who: 'ours', what: 'first answer', medianMs: 66 },
    { ...MEASURED, part: 'cold start', who: 'bare', what: 'key read, start to first answer', medianMs: 503 },
    { ...MEASURED, part: 'cold start', who: 'ours', what: 'start to first answer', medianMs: 1320 },
    { ...MEASURED, part: 'quiet', who: 'bare', what: 'GET, new connection, after 3 s', medianMs: 63 },
    { ...MEASURED, part: 'quiet', who: 'ours', what: 'GET, kept connection, after 3 s', medianMs: 31 },
    { ...MEASURED, part: 'quiet', who: 'ours', what: 'GET, new connection, after 3 s', medianMs: 62 },
    ...[200, 190, 230].map((millis) => (
      { ...MEASURED, udp: false, part: 'dead freeze', who: 'ours', what: `${millis}`, medianMs: millis, maxMs: millis + 1 })),
  ]);

  expect(lines).toHaveLength(3);
  expect(lines[2]).toBe('| 30 ms | 64, 250, **189 ms** | 1,254, **66 ms** | 503, 1,320 ms | 63 ms | 31, 62 ms | 200, 231 ms |');
});
