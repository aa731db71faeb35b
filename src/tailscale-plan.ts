/**
 * Tailscale's plans, by the minutes of ephemeral machines that each includes per month.
 *
 * @see https://tailscale.com/pricing
 */
export enum TailscalePlan {
  /** 1,000 minutes per month. */
  PERSONAL = 'Personal',

  /** 1,000 minutes per month. */
  STANDARD = 'Standard',

  /** 10,000 minutes per month. */
  PREMIUM = 'Premium',
}
