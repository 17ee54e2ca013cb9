//! What is compiled in: the policy and the modules of the template `trading`.

/// `tenant_templates.yaml` as it was when this was built.
pub const POLICY: &str = include_str!("../../tenant_templates.yaml");

/// The SQL modules by name.
pub const MODULES: &[(&str, &str)] = &[
    ("portfolios", include_str!("../../sql/template/trading/portfolios.sql")),
    ("positions", include_str!("../../sql/template/trading/positions.sql")),
    ("trades", include_str!("../../sql/template/trading/trades.sql")),
    (
        "market_data",
        include_str!("../../sql/template/trading/market_data.sql"),
    ),
    (
        "basic_analytics",
        include_str!("../../sql/template/trading/basic_analytics.sql"),
    ),
    (
        "advanced_analytics",
        include_str!("../../sql/template/trading/advanced_analytics.sql"),
    ),
    (
        "algorithmic_trading",
        include_str!("../../sql/template/trading/algorithmic_trading.sql"),
    ),
    (
        "risk_management",
        include_str!("../../sql/template/trading/risk_management.sql"),
    ),
    (
        "backtesting",
        include_str!("../../sql/template/trading/backtesting.sql"),
    ),
];

/// The text of a built-in module.
pub fn module(name: &str) -> Option<&'static str> {
    MODULES.iter().find(|(known, _)| *known == name).map(|(_, sql)| *sql)
}
